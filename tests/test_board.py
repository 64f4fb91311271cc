"""A board brings a thread to what it should be, whatever the chat does and whenever it is cut off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.board import Board, HoldBack
from bot.budget import Budget, Urgency
from bot.delivery import Deliveries
from bot.errors import ThreadGone
from bot.model import AuditEntry, Entry, Job, JobKind, JobState, Session
from bot.posts import Fold, Post
from bot.store import Store
from executor.events import Accepted, AskRaised, Completed, Event, Started, Text, ToolEnded, ToolStarted


class Killed(BaseException):
    """The process is gone at this very moment."""


@dataclass
class Room:
    """A chat's thread that lives on while we are killed: messages as people see them."""

    messages: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: int = 0
    trouble: random.Random | None = None
    kill_at: int = 0
    gone: bool = False

    def step(self) -> None:
        self.requests += 1
        if self.gone:
            raise ThreadGone("deleted")
        if self.trouble is not None and self.trouble.random() < 0.2:
            raise HoldBack(0.01)

    def killed(self) -> None:
        if self.requests == self.kill_at:
            raise Killed

    @property
    def shown(self) -> list[str]:
        return [text for _, text in self.messages.values()]


class RoomChat:
    """The room as a Chat."""

    name = "room"
    limit = 300

    def __init__(self, room: Room, rate: float = 1000) -> None:
        self.room = room
        self._budget = Budget(rate, 5)

    def budget(self, thread: str, *, edit: bool) -> Budget:
        return self._budget

    async def open(self, title: str, channel: str = "") -> str:
        return title

    async def post(self, thread: str, job: str, post: Post) -> str:
        self.room.step()
        identity = f"m{len(self.room.messages)}"
        self.room.messages[identity] = (post.index, post.text)
        self.room.killed()
        await asyncio.sleep(0)
        return identity

    async def edit(self, thread: str, message: str, job: str, post: Post) -> None:
        self.room.step()
        self.room.messages[message] = (post.index, post.text)
        self.room.killed()
        await asyncio.sleep(0)

    async def find(self, thread: str, job: str) -> dict[int, str]:
        return {index: identity for identity, (index, _) in self.room.messages.items()}


STORY: list[Event] = [
    Started("rdev/x"),
    Text("First I look. "),
    Text("Then I act.", end=True),
    ToolStarted("t1", "Bash", "make test"),
    ToolEnded("t1", ok=True),
    Text("word " * 300, end=True),
    AskRaised("a1", "question", "Which?", "Which colour?", ("Red", "Blue")),
    Text("That is all.", end=True),
    Completed("succeeded", 0, 1200),
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "rdev.db") as opened:
        await opened.add_session(Session("s", "demo", "x", "c", "room:1", 1.0), AuditEntry("session", "room:1"))
        await opened.bind("room", "thread", "s")
        job = Job("j", "s", "demo", JobKind.CLAUDE, JobState.QUEUED, "room:1", "room", "thread", "go", 1.0)
        await opened.add_job(job, [Accepted("room:1", "claude", "go")], AuditEntry("claude", "room:1"))
        yield opened


def wanted() -> list[str]:
    fold = Fold(RoomChat.limit)
    fold.feed(
        [Entry("j", number, 0, event) for number, event in enumerate([Accepted("room:1", "claude", "go"), *STORY], 1)]
    )
    return [post.text for post in fold.posts()]


async def test_thread_shows_each_post_once_and_in_order(store: Store) -> None:
    room = Room()
    async with Deliveries(store, [Board(store, RoomChat(room))]) as deliveries:
        for event in STORY:
            await store.append("j", [event])
            await asyncio.sleep(0.01)
        await deliveries.shown("j")

    assert room.shown == wanted()


async def test_many_events_at_once_cost_few_requests(store: Store) -> None:
    room = Room()
    async with Deliveries(store, [Board(store, RoomChat(room, rate=20))]) as deliveries:
        for number in range(200):
            await store.append("j", [Text(f"{number} ")])
            await asyncio.sleep(0.002)
        await store.append("j", [Completed("succeeded", 0, 1)])
        await deliveries.shown("j")

    assert room.requests <= 25
    assert "".join(room.shown[1:-1]).split() == [str(number) for number in range(200)]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000))
def test_holding_back_of_the_platform_loses_nothing(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def story() -> None:
        async for opened in store.__wrapped__(tmp_path_factory.mktemp("board")):  # type: ignore[attr-defined]
            room = Room(trouble=random.Random(seed))
            async with Deliveries(opened, [Board(opened, RoomChat(room))]) as deliveries:
                for event in STORY:
                    await opened.append("j", [event])
                await deliveries.shown("j")
            assert room.shown == wanted()

    asyncio.run(story())


@pytest.mark.parametrize("kill_at", range(1, 9))
async def test_kill_after_any_request_doubles_nothing(store: Store, kill_at: int) -> None:
    """The message is there, and nobody has written that down: it is found again by what it says of itself."""
    room = Room(kill_at=kill_at)
    for event in STORY:
        await store.append("j", [event])
    board = Board(store, RoomChat(room))
    with pytest.raises(Killed):
        await board.shown("thread", "j")
        await board.show("thread", await store.entries("j", 0))
    async with Deliveries(store, [Board(store, RoomChat(room))]) as deliveries:
        await deliveries.shown("j")

    assert room.shown == wanted()


async def test_deleted_thread_ends_the_delivery(store: Store) -> None:
    room = Room(gone=True)
    for event in STORY:
        await store.append("j", [event])
    async with Deliveries(store, [Board(store, RoomChat(room))]) as deliveries:
        await deliveries.shown("j")

    assert room.requests == 1
    assert await store.deliveries() == []


class Counted(Budget):
    """A budget that counts how often it was asked."""

    asked = 0

    async def take(self, urgency: Urgency) -> None:
        self.asked += 1
        await super().take(urgency)


async def test_busy_thread_keeps_its_place_in_the_row(store: Store) -> None:
    """Whoever asks anew with each event goes to the end of the row each time, and never has its turn."""
    room = Room()
    chat = RoomChat(room)
    chat._budget = budget = Counted(4, 1, reserve=0)
    async with Deliveries(store, [Board(store, chat)]):
        for number in range(100):
            await store.append("j", [Text(f"{number} ")])
            await asyncio.sleep(0.01)

    assert room.requests >= 4
    assert budget.asked <= room.requests + 4
