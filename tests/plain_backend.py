"""A backend without a fence: real processes in a directory, for what is built on `exec` alone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from executor.backend import Box, BoxState, BoxStatus, Container, Denial

BOXRUN = Path(__file__).parent.parent / "claudebox" / "boxrun.py"


class PlainProcess:
    """A subprocess, as the port wants it."""

    def __init__(self, process: asyncio.subprocess.Process, stderr: asyncio.Task[bytes]) -> None:
        self._process = process
        self._stderr = stderr

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def read(self, limit: int = 65536) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(limit)

    async def wait(self) -> int:
        code = await self._process.wait()
        await self._stderr
        return code if code >= 0 else 128 - code

    def stderr(self) -> str:
        return self._stderr.result()[-16384:].decode(errors="replace") if self._stderr.done() else ""


class PlainBackend:
    """Boxes that are directories below `root`: `<project>/workspace`, `<project>/git`, `<project>/boxrun`."""

    def __init__(self, root: Path, *, wrap: Path | None = None) -> None:
        self._root = root
        self._wrap = wrap
        self.allowed: dict[tuple[str, int], tuple[str, ...]] = {}
        self.running: dict[str, BoxState] = {}

    async def start(self, box: Box) -> None:
        for part in ("workspace", "git", "boxrun"):
            (self._root / box.project / part).mkdir(parents=True, exist_ok=True)
        self.running[box.project] = BoxState.RUNNING

    async def stop(self, project: str) -> None:
        self.running[project] = BoxState.STOPPED

    async def delete(self, project: str) -> None:
        self.running.pop(project, None)

    async def status(self) -> Mapping[str, BoxStatus]:
        return {project: BoxStatus(project, state) for project, state in self.running.items()}

    def exec(
        self, project: str, argv: Sequence[str], *, container: Container = Container.AGENT, cwd: str = ""
    ) -> AbstractAsyncContextManager[PlainProcess]:
        home = self._root / project
        match container:
            case Container.BOXRUN:
                wrap = ["--wrap", str(self._wrap)] if self._wrap else []
                own = [sys.executable, "-I", "-S", str(BOXRUN), "--root", str(home / "boxrun"), *wrap]
                return _run([*own, *argv], home)
            case Container.GIT:
                return _run(argv, home / "git" / cwd)
            case Container.AGENT:
                return _run(argv, home / "workspace" / cwd)

    async def allow(self, project: str, slot: int, domains: Sequence[str]) -> None:
        self.allowed[project, slot] = tuple(domains)

    async def denials(self) -> AsyncIterator[Denial]:
        await asyncio.Event().wait()
        yield Denial("", 0, "", 0)


@asynccontextmanager
async def _run(argv: Sequence[str], cwd: Path) -> AsyncIterator[PlainProcess]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ}, limit=1 << 18
    )
    assert process.stderr is not None
    stderr = asyncio.create_task(process.stderr.read())
    try:
        yield PlainProcess(process, stderr)
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.shield(_close(process, stderr))


async def _close(process: asyncio.subprocess.Process, stderr: asyncio.Task[bytes]) -> None:
    # Closes our ends at once: `wait` waits for the end of a pipe too, which nobody reads or a grandchild holds open.
    process._transport.close()  # type: ignore[attr-defined]  # there is no public way
    await process.wait()
    stderr.cancel()
    await asyncio.gather(stderr, return_exceptions=True)
