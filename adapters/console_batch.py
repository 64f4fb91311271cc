"""Commands run one after the other without a prompt, for scripts and for a first look."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterable

from adapters.console_asks import Question
from adapters.console_board import Board
from adapters.console_chat import SURFACE, Chat, Message, Reply
from adapters.console_lines import Lines
from adapters.console_reply import drawn
from adapters.console_view import View
from adapters.flow import MARGIN
from adapters.outlet import Outlet
from adapters.paint import Paint
from adapters.transcript import Growth, Transcript
from bot.model import AskKind
from bot.rendering import Tone
from bot.safetext import one_line
from executor.events import Accepted, Completed

REFUSED = 2
"""The exit code of a command that was not accepted."""


class Batch:
    """Shows each command, its reply and the thread until its job has ended."""

    def __init__(
        self, chat: Chat, transcript: Transcript, actor: str, outlet: Outlet, paint: Paint, *, answers: int | None
    ) -> None:
        self._chat = chat
        self._transcript = transcript
        self._actor = actor
        self._outlet = outlet
        self._paint = paint
        self._answers = answers
        """The terminal that asks are answered from, or None where nobody is there."""
        self._asked = ""
        self._lines = Lines(paint, outlet.columns)
        self._thread = ""

    async def run(self, commands: AsyncIterable[str]) -> int:
        """Run the commands; the last one's exit code. One that is refused ends it."""
        code = 0
        first = True
        async for command in commands:
            place = self._paint.bold(self._thread or "rdev")
            self._write(
                [*([] if first else [""]), f"{place} {self._paint.tone(Tone.GOOD, '›')} {one_line(command, 500)}"]
            )
            sizes = self._sizes()
            reply = await self._chat.handle(Message(uuid.uuid4().hex, SURFACE, self._thread, self._actor, command))
            code, first = await self._show(reply, sizes), False
            await self._outlet.drained()
            if reply.error:
                break
        return code

    async def _show(self, reply: Reply, sizes: dict[str, int]) -> int:
        """Draw a reply and what comes of it; the exit code."""
        self._write(drawn(reply, self._lines, self._paint))
        if reply.error:
            return REFUSED
        self._thread = reply.thread or self._thread
        code, questions = 0, [Question.replied(ask) for ask in reply.asks]
        if reply.job and reply.thread:
            code, questions = await self._follow(reply.job, sizes.get(reply.thread, 0))
        for question in questions:
            sizes, self._asked = self._sizes(), ""
            self._invite(question)
            if self._answers is not None:
                code = await self._answer(question, await _line(self._answers), sizes)
        return code

    async def _follow(self, job: str, offset: int) -> tuple[int, list[Question]]:
        """Draw the thread until the job has ended; its exit code, and what may still be answered."""
        view, board = View(self._paint, self._outlet.columns, self._actor), Board()
        with self._transcript.growing() as growth:
            while True:
                page = self._transcript.read(self._thread, offset)
                for entry in page.entries:
                    if entry.job != job or not isinstance(entry.event, Accepted):  # which would repeat the command
                        view.feed(entry)
                    board.update(self._thread, entry)
                    if entry.job == job and isinstance(entry.event, Completed):
                        view.close()
                        self._write(view.take())
                        return entry.event.exit_code, board.questions(self._thread)
                # A push is asked about at the job's end: its answer is a job of its own, which is shown then.
                asked = [each for each in board.questions(self._thread) if each.kind is not AskKind.PUSH]
                self._write(view.take(), [] if asked else view.live(time.time()))
                await self._outlet.drained()
                if page.end == offset:
                    await self._wait(growth, asked[0] if asked else None)
                offset = page.end

    async def _wait(self, growth: Growth, question: Question | None) -> None:
        """Wait for the thread to grow, and meanwhile for the answer that it waits for."""
        waiting: list[asyncio.Task[object]] = [asyncio.create_task(growth.wait())]
        if question is not None:
            self._invite(question)
            if self._answers is not None:
                waiting.append(asyncio.create_task(_line(self._answers)))
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if question is not None and waiting[-1] in done and len(waiting) > 1:
            await self._answer(question, str(waiting[-1].result()))

    def _invite(self, question: Question) -> None:
        if self._asked == question.id:
            return
        self._asked = question.id
        elsewhere = (
            f"waits for an answer: /rdev answer {question.id} {' | '.join(map(one_line, question.choices)) or '…'}"
        )
        where = question.hint if self._answers is not None else elsewhere
        self._write([MARGIN + self._paint.dim(where)])

    async def _answer(self, question: Question, line: str, sizes: dict[str, int] | None = None) -> int:
        """Pass on what was typed; with the sizes of the threads before, show what comes of it too."""
        if not line:  # the terminal has no more to say
            self._answers = None
        if not line.strip():
            return 0
        reply = await self._chat.answer(question.id, question.line(line), self._actor)
        self._asked = "" if reply.error else self._asked
        if sizes is not None:
            return await self._show(reply, sizes)
        self._write(drawn(reply, self._lines, self._paint))
        return 0

    def _sizes(self) -> dict[str, int]:
        return {thread.name: thread.size for thread in self._transcript.threads()}

    def _write(self, rows: list[str], live: list[str] | None = None) -> None:
        text = "".join(f"{row}\n" for row in rows)
        if self._outlet.in_place:
            text = f"\r\x1b[K{text}{live[-1] if live else ''}"
        self._outlet.write(text)


async def _line(fd: int) -> str:
    """A line from the terminal, empty at its end; nothing is taken when cancelled."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    return os.read(fd, 65_536).decode(errors="replace")
