"""Run short sh scripts through a backend's exec, bounded in time and in what they may say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from executor.backend import Backend, Container, Process
from executor.errors import RepositoryError
from executor.git import printable

TIMED_OUT = 124
"""The code of a script that was killed because its time was over, as of `timeout`."""


@dataclass(frozen=True, slots=True)
class Script:
    """A sh script, what it is for in words, and its bounds in seconds and bytes of output."""

    purpose: str
    text: str
    container: Container = Container.AGENT
    seconds: float = 120
    output: int = 16 << 20

    def failed(self, code: int, stderr: str) -> RepositoryError:
        """The error for people: what was tried and the last of what was said."""
        return RepositoryError(self.purpose, code, printable(stderr))


@dataclass(frozen=True, slots=True)
class Said:
    """What a script wrote to stdout; `cut` when it wrote more than its bound."""

    data: bytes
    cut: bool = False

    def lines(self) -> list[str]:
        """The output as lines; names that are not UTF-8 survive a round trip."""
        return self.data.decode("utf-8", "surrogateescape").split("\n")


@dataclass(frozen=True, slots=True)
class Running:
    """A script that runs."""

    script: Script
    process: Process

    async def feed(self, data: bytes, *, last: bool = True) -> None:
        """Give it input; one that ended early tells why by its exit code."""
        try:
            await self.process.write(data)
            if last:
                await self.process.close_stdin()
        except OSError:
            await self.ended()
            if data:
                raise self.script.failed(1, "ended before it had read its input") from None

    async def read(self) -> Said:
        """All of stdout up to the script's bound."""
        parts, size = [], 0
        while part := await self.process.read():
            parts.append(part)
            size += len(part)
            if size > self.script.output:
                return Said(b"".join(parts)[: self.script.output], cut=True)
        return Said(b"".join(parts))

    async def line(self, limit: int = 256) -> tuple[bytes, bytes]:
        """The first line of stdout, and what was read beyond it."""
        head = b""
        while b"\n" not in head and len(head) < limit and (part := await self.process.read()):
            head += part
        first, _, rest = head.partition(b"\n")
        return first[:limit], rest

    async def ended(self) -> None:
        """Wait for the end; RepositoryError for another exit code than 0."""
        if code := await self.process.wait():
            raise self.script.failed(code, self.process.stderr())


@dataclass(frozen=True, slots=True)
class Shell:
    """Where the scripts of one project run."""

    backend: Backend
    project: str

    @asynccontextmanager
    async def start(self, script: Script, *args: str) -> AsyncIterator[Running]:
        """The running script, killed when the context is left; RepositoryError when its time is over."""
        argv = ["sh", "-c", script.text, "sh", *args]
        try:
            async with (
                asyncio.timeout(script.seconds),
                self.backend.exec(self.project, argv, container=script.container) as process,
            ):
                yield Running(script, process)
        except TimeoutError as e:
            raise script.failed(TIMED_OUT, f"not done after {script.seconds:g} seconds") from e

    async def run(self, script: Script, *args: str, stdin: bytes = b"", cuts: bool = False) -> Said:
        """Run a script to its end; with `cuts`, output beyond the bound is cut instead of refused."""
        async with self.start(script, *args) as running:
            await running.feed(stdin)
            said = await running.read()
            if not said.cut:
                await running.ended()
            elif not cuts:
                raise script.failed(1, f"more than {script.output} bytes of output")
            return said
