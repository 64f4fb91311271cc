"""What a person asks of the service, in order; a stop and an answer wait behind nothing."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from adapters.console_asks import Question
from adapters.console_chat import SURFACE, Chat, Message, Reply

log = logging.getLogger(__name__)

_WAITING = 100
STOP = "/rdev stop"


class Calls:
    """Runs calls in tasks of a group that its owner ends; each reply is shown with the thread it was asked in
    and the ask that it settles."""

    def __init__(self, chat: Chat, actor: str, show: Callable[[Reply, str, str], None]) -> None:
        self._chat = chat
        self._actor = actor
        self._show = show
        self._lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_WAITING)
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Pass lines on, one after the other."""
        self._tasks = tasks
        while True:
            thread, text = await self._lines.get()
            await self._handle(thread, text)

    def line(self, thread: str, text: str) -> None:
        """Pass a line on after those before it; a stop at once."""
        if text.startswith(STOP):
            self._spawn(self._handle(thread, text))
            return
        try:
            self._lines.put_nowait((thread, text))
        except asyncio.QueueFull:
            self._show(Reply("Too much is waiting already; this line was not taken.", error=True), thread, "")

    def answer(self, thread: str, question: Question, choice: str | Sequence[str]) -> None:
        """Answer a question at once."""
        self._spawn(self._shown(thread, self._chat.answer(question.id, choice, self._actor), question.id))

    async def _handle(self, thread: str, text: str) -> None:
        await self._shown(thread, self._chat.handle(Message(uuid.uuid4().hex, SURFACE, thread, self._actor, text)))

    async def _shown(self, thread: str, call: Awaitable[Reply], ask: str = "") -> None:
        try:
            reply = await call
        except Exception:  # the chat must outlive whatever breaks behind it
            log.exception("a call of the console failed")
            reply = Reply("Something broke on our side; the log has the details.", error=True)
        self._show(reply, thread, ask)

    def _spawn(self, call: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None
        self._tasks.create_task(call)
