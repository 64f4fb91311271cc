"""Show jobs in a chat of posts that can be edited: what is there is brought to what should be, post by post."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.budget import Budget, Urgency
from bot.model import Entry
from bot.posts import Fold, Post, PostKind
from bot.store import Store

log = logging.getLogger(__name__)


class HoldBack(Exception):
    """The platform wants nothing from us for a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:g} s")
        self.seconds = seconds


class Chat(Protocol):
    """A chat platform, as far as threads of posts go; everything may raise ThreadGone and HoldBack."""

    name: str
    limit: int
    """Characters of one post."""

    def budget(self, thread: str, *, edit: bool) -> Budget:
        """What may be sent to the thread: edits, or new messages."""

    async def open(self, title: str, channel: str) -> str:
        """A new thread in that channel; its id."""

    async def post(self, thread: str, job: str, post: Post) -> str:
        """A new message, which says by itself which post of which job it is; its id."""

    async def edit(self, thread: str, message: str, job: str, post: Post) -> None:
        """Bring a message to what the post says now."""

    async def find(self, thread: str, job: str) -> dict[int, str]:
        """The messages of ours that are really in the thread: post index → message id."""


@dataclass(slots=True)
class _Shown:
    """One job in one thread: what should be there, and what is."""

    fold: Fold
    seq: int = 0
    sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Post key → (message id, digest of what was sent last)."""


class Board:
    """A chat as a surface; see bot.delivery.Surface."""

    def __init__(self, store: Store, chat: Chat, *, quiet: frozenset[str] = frozenset()) -> None:
        """`quiet` are the projects whose threads show results without the steps."""
        self.name = chat.name
        self._store = store
        self._chat = chat
        self._quiet = quiet
        self._jobs: dict[tuple[str, str], _Shown] = {}
        self._began = time.time()

    async def open(self, title: str, channel: str) -> str:
        """A new thread for a session."""
        return await self._chat.open(title, channel)

    async def shown(self, thread: str, job: str) -> int:
        """Find what is there of the job, and read its events up to there again."""
        stored = next((d for d in await self._store.deliveries(job=job) if d.thread == thread), None)
        row = await self._store.job(job)
        quiet = row is not None and row.project in self._quiet
        shown = _Shown(Fold(self._chat.limit, quiet=quiet))
        if stored is not None and stored.messages:
            shown.sent = {key: (each[0], each[1]) for key, each in json.loads(stored.messages).items()}
        began_here = row is not None and row.created >= self._began and (thread, job) not in self._jobs
        new = stored is not None and not stored.messages and began_here
        there = {} if new else await self._chat.find(thread, job)
        self._jobs[thread, job] = shown
        await self._read(shown, job)
        for post in shown.fold.posts():
            # A message that was posted just before a kill is there, and nobody has written down its id.
            if post.key not in shown.sent and post.index in there:
                shown.sent[post.key] = (there[post.index], "")
        return 0

    async def show(self, thread: str, entries: Sequence[Entry]) -> None:
        """Bring the thread to the newest state of the job; later events are taken along when the budget makes wait."""
        job = entries[0].job
        shown = self._jobs.get((thread, job))
        if shown is None:
            return  # shown to its end already, with what was read ahead
        self._feed(shown, entries)
        while (post := self._next(shown)) is not None:
            edit = post.key in shown.sent
            budget = self._chat.budget(thread, edit=edit)
            if not await self._granted(budget, post, shown, job):
                continue
            await self._read(shown, job)
            post = self._next(shown)
            # What is to be sent by now may be of the other kind, which has a budget of its own.
            if post is not None and (post.key in shown.sent) == edit:
                await self._send(thread, job, shown, post, budget)
        if all(post.final for post in shown.fold.posts()):
            del self._jobs[thread, job]

    async def _granted(self, budget: Budget, post: Post, shown: _Shown, job: str) -> bool:
        """Wait for a request; False when something more urgent, or with another budget, has come meanwhile."""
        urgency, edit = _urgency(post, shown), post.key in shown.sent
        if urgency < Urgency.STREAM or budget.free(urgency):
            await budget.take(urgency)
            return True
        take = asyncio.ensure_future(budget.take(urgency))
        try:
            # What only makes the post longer keeps its place in the row: a busy thread would never have its turn else.
            while not take.done():
                await self._news(take, shown, job)
                await self._read(shown, job)
                now = self._next(shown) or post
                if not take.done() and (_urgency(now, shown) < urgency or (now.key in shown.sent) != edit):
                    return False
            return True
        finally:
            take.cancel()
            await asyncio.gather(take, return_exceptions=True)

    async def _news(self, take: asyncio.Future[None], shown: _Shown, job: str) -> None:
        """Wait until the request may be sent, or there is more to show."""
        news = asyncio.ensure_future(self._store.wait_beyond(job, shown.seq))
        try:
            await asyncio.wait({take, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            await asyncio.gather(news, return_exceptions=True)

    async def _send(self, thread: str, job: str, shown: _Shown, post: Post, budget: Budget) -> None:
        known = shown.sent.get(post.key)
        try:
            if known is None:
                message = await self._chat.post(thread, job, post)
            else:
                message = known[0]
                await self._chat.edit(thread, message, job, post)
        except HoldBack as error:
            log.warning("%s wants us to wait %g s", self.name, error.seconds, extra={"job": job})
            budget.hold(error.seconds)
            return
        shown.sent[post.key] = (message, _digest(post))
        messages = json.dumps(shown.sent)
        await self._store.deliver(job, self.name, thread, shown.seq, messages=messages)

    async def _read(self, shown: _Shown, job: str) -> None:
        while entries := await self._store.entries(job, shown.seq):
            self._feed(shown, entries)

    def _feed(self, shown: _Shown, entries: Sequence[Entry]) -> None:
        new = [entry for entry in entries if entry.seq > shown.seq]
        if new:
            shown.fold.feed(new)
            shown.seq = new[-1].seq

    def _next(self, shown: _Shown) -> Post | None:
        """The first post that is not as it should be; the card only when all else is, but first of all when new."""
        card, *others = shown.fold.posts()
        if card.key not in shown.sent:
            return card
        for post in (*others, card):
            known = shown.sent.get(post.key)
            if known is None or known[1] != _digest(post):
                return post
        return None


def _urgency(post: Post, shown: _Shown) -> Urgency:
    match post.kind:
        case PostKind.END:
            return Urgency.FINAL
        case PostKind.ASK:
            return Urgency.ASK
        case PostKind.CARD:
            return Urgency.REPLY if post.key not in shown.sent else Urgency.STATUS
        case PostKind.TEXT:
            return Urgency.FINAL if post.final else Urgency.NOTICE if post.settled else Urgency.STREAM


def _digest(post: Post) -> str:
    final = post.final and post.kind is not PostKind.TEXT  # text looks the same when it is final
    said = repr((post.text, post.ask is not None, final, len(post.file)))
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]
