"""A whole rdev on a Slack on loopback, and what a thread there shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fake_slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from slack_outbox import SECRET
from slack_state import TEAM, Json, escaped
from world import KEY, make_remote, settings

from adapters.slack import SlackChat
from adapters.slack_link import Access, Slack
from adapters.slack_render import message
from bot.__main__ import serving
from bot.config import parse
from bot.model import Entry, Job
from bot.posts import Fold
from bot.script import load
from bot.scripted_model import ScriptedModel
from bot.service import Service
from bot.store import Store
from executor.events import Completed

T = TypeVar("T")
CHANNEL = "general"


@dataclass
class Lab:
    """The service, and the workspace that its people use."""

    directory: Path
    slack: FakeSlack
    service: Service

    async def work(self, prompt: str, *, user: str = "alice") -> str:
        """Give Claude work in #general by the command; the thread it shows itself in."""
        known = set(self.roots())
        answer = await self.slack.command(user, CHANNEL, "/claude", f"demo {prompt}")
        assert answer.acked
        return await until(lambda: next((root for root in self.roots() if root not in known), ""))

    def roots(self) -> list[str]:
        """The threads of #general."""
        return [m["ts"] for m in self.slack.messages(CHANNEL) if m.get("thread_ts", m["ts"]) == m["ts"]]

    def texts(self, root: str) -> list[str]:
        """What the thread says, by message."""
        return self.slack.seen(CHANNEL, root)

    async def sees(self, root: str, text: str, *, timeout: float = 30) -> Json:
        """Wait until a message of the thread says this."""

        def look() -> Json | None:
            at = next((n for n, each in enumerate(self.texts(root)) if text in each), None)
            return None if at is None else self.slack.thread(CHANNEL, root)[at]

        try:
            return await until(look, timeout)
        except TimeoutError:
            raise AssertionError(f"the thread never said {text!r}, but {self.texts(root)}") from None

    async def ended(self, root: str, *, count: int = 1, timeout: float = 60) -> Json:
        """Wait until the n-th job of the thread has its result, and all its cards say so."""

        def look() -> Json | None:
            found = [m for m, text in zip(self.slack.thread(CHANNEL, root), self.texts(root), strict=True)
                     if "[Push]" in text]  # fmt: skip
            over = len(found) >= count and not any("[Stop]" in text for text in self.texts(root))
            return found[count - 1] if over else None

        try:
            return await until(look, timeout)
        except TimeoutError:
            raise AssertionError(f"the work never ended: {self.texts(root)}") from None

    async def told(self, user: str, text: str) -> str:
        """Wait until that user alone is told this."""
        try:
            return await until(lambda: next((each for each in self.slack.private(user) if text in each), ""))
        except TimeoutError:
            raise AssertionError(f"{user} was only told {self.slack.private(user)}") from None

    def action(self, ts: str, label: str) -> str:
        """The action of the button with that label."""
        _, message = self.slack.space.find(ts)
        for block in message["blocks"]:
            for element in block.get("elements") or ():
                if element.get("text", {}) and isinstance(element["text"], dict) and element["text"]["text"] == label:
                    return str(element["action_id"])
        raise LookupError(label)

    async def press(self, user: str, message: Json, label: str) -> None:
        """Press the button with that label."""
        assert (await self.slack.click(user, message["ts"], self.action(message["ts"], label))).acked


async def whole(store: Store, slack: FakeSlack, job: Job) -> None:
    """The thread has what the job's events say, post for post, once and in order."""
    entries: list[Entry] = []
    while page := await store.entries(job.id, len(entries)):
        entries += page
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert isinstance(entries[-1].event, Completed)
    assert entries[-1].event.state == "succeeded"
    fold = Fold(SlackChat.limit)
    fold.feed(entries)
    posts = fold.posts()
    channel, _, root = job.thread.partition("/")
    told = [(m, (m.get("metadata") or {}).get("event_payload", {})) for m in slack.thread(channel, root)]
    ours = [(message, said["index"]) for message, said in told if said.get("job") == job.id]
    assert [index for _, index in ours] == [post.index for post in posts]
    assert [m["text"] for m, _ in ours] == [escaped(message(job.id, post)["text"]) for post in posts]


async def until(condition: Callable[[], T | None], seconds: float = 30) -> T:
    """Wait until the condition holds, and return it."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # noqa: ASYNC110 - the server is looked at from outside, as people do
            await asyncio.sleep(0.01)
    return found


def rights(slack: FakeSlack) -> dict[str, list[str]]:
    """Alice may all, Bob may run; nobody else may anything."""
    return {"admin": [actor(slack, "alice")], "run": [actor(slack, "bob")]}


def actor(slack: FakeSlack, name: str) -> str:
    return f"slack:{TEAM}/{slack.space.user(name).id}"


@asynccontextmanager
async def lab(
    directory: Path,
    script: Mapping[str, Sequence[Any]] | None = None,
    *,
    slack: FakeSlack,
    http: bool = False,
    **more: Any,
) -> AsyncIterator[Lab]:
    """A running service in a workspace; entered again in the same directory it is the service after a restart."""
    if not (directory / "remote.git").exists():
        make_remote(directory)
    async with ScriptedModel(load(json.dumps(script or {})), key=KEY) as model:
        data = settings(directory, model.url, **{"rights": rights(slack), **more})
        config = parse(data, directory / "rdev.toml", {"MODEL_KEY": KEY})
        async with connected(access(slack, http=http)) as link, serving(config, [], [link.chat]) as service:
            task = asyncio.create_task(link.run(service))
            try:
                await ready(slack, http=http)
                yield Lab(directory, slack, service)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def access(slack: FakeSlack, *, http: bool = False) -> Access:
    """How that workspace is reached."""
    port = int(slack.outbox.endpoint.rpartition(":")[2].partition("/")[0]) if http else 0
    return Access(BOT_TOKEN, "" if http else APP_TOKEN, SECRET, port=port, api_url=slack.base_url, ping_seconds=1)


connected = Slack.open


async def ready(slack: FakeSlack, *, http: bool) -> None:
    if not http:
        await slack.connected()
        return
    host, port = slack.outbox.endpoint.removeprefix("http://").partition("/")[0].split(":")
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
