"""`rdev chat`: a terminal that behaves as a chat does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

from adapters.console_batch import Batch
from adapters.console_chat import Chat
from adapters.outlet import Gone, Outlet
from adapters.paint import Paint, wants_colour
from adapters.transcript import Transcript

__all__ = ["Chat", "Console"]

_PIPE_CLOSED = 141
"""What a shell shows for a program that wrote to a closed pipe."""


class Console:
    """One person at this process's terminal; `environ` is asked for NO_COLOR and TERM."""

    def __init__(
        self, service: Chat, transcript: Transcript, actor: str, *, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._service = service
        self._transcript = transcript
        self._actor = actor
        tty = os.isatty(1) and environ.get("TERM", "dumb") != "dumb"
        self._interactive = tty and os.isatty(0)
        self._in_place = tty
        self._paint = Paint(wants_colour(tty, environ))

    async def run(self) -> None:
        """Chat until the person leaves; without a terminal, run the lines of standard input."""
        if not self._interactive:
            await self._batch(_stdin())
            return
        from adapters.console_live import Live  # noqa: PLC0415 — prompt_toolkit takes longer to import than all else

        async with Outlet(1, in_place=True) as outlet:
            await Live(self._service, self._transcript, self._actor, outlet, self._paint).run()

    async def run_commands(self, commands: Sequence[str]) -> int:
        """Run commands without a prompt, each until its job has ended; the last one's exit code."""
        return await self._batch(_each(commands))

    async def _batch(self, commands: AsyncIterator[str]) -> int:
        answers = 0 if os.isatty(0) else None
        try:
            async with Outlet(1, in_place=self._in_place) as outlet:
                batch = Batch(self._service, self._transcript, self._actor, outlet, self._paint, answers=answers)
                return await batch.run(commands)
        except Gone:
            return _PIPE_CLOSED


async def _each(commands: Sequence[str]) -> AsyncIterator[str]:
    for command in commands:
        yield command


async def _stdin() -> AsyncIterator[str]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            yield line.strip()
