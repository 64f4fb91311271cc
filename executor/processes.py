"""Commands on this machine as asyncio sees them: bytes in, bytes out, and nothing left when the context is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from typing_extensions import override  # in typing itself from Python 3.12

STDERR_BYTES = 16384
AHEAD = 1 << 20
"""Bytes of stdout read before anyone asks for them."""


class Running(asyncio.SubprocessProtocol):
    """A running command: executor.backend.Process on this machine."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stderr = bytearray()
        self._stderr_done = asyncio.Event()
        self._exited: asyncio.Future[int] = self._loop.create_future()

    @property
    def pid(self) -> int:
        """The process, which leads a process group of its own."""
        assert self._transport is not None
        return self._transport.get_pid()

    async def write(self, data: bytes) -> None:
        """Send bytes to stdin, waiting while the command does not read."""
        stdin = self._stdin()
        if stdin.is_closing():
            raise BrokenPipeError("the command reads no more input")
        stdin.write(data)
        await self._room.wait()

    async def close_stdin(self) -> None:
        """Tell the command that no more input comes."""
        self._stdin().close()

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes of stdout, at most `limit`; empty at the end."""
        while not self._chunks and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self._chunks:
            return b""
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            self._chunks.appendleft(chunk[limit:])
            chunk = chunk[:limit]
        self._size -= len(chunk)
        if self._paused and self._size < AHEAD // 2:
            self._paused = False
            self._stdout().resume_reading()
        return chunk

    async def wait(self) -> int:
        """The exit code; a signal N is 128 + N."""
        code = await asyncio.shield(self._exited)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):  # a grandchild may hold stderr for as long as it likes
                await self._stderr_done.wait()
        return code if code >= 0 else 128 - code

    def stderr(self) -> str:
        """The last 16 KiB the command wrote to stderr."""
        return self._stderr.decode("utf-8", "replace")

    async def end(self) -> None:
        """Kill the whole process group, wait for the command's death and close every pipe."""
        assert self._transport is not None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.shield(self._exited)
        self._transport.close()
        await asyncio.sleep(0)  # the pipes' transports close in the loop's next round

    def _stdin(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert isinstance(pipe, asyncio.WriteTransport)
        return pipe

    def _stdout(self) -> asyncio.ReadTransport:
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(1)
        assert isinstance(pipe, asyncio.ReadTransport)
        return pipe

    # what the event loop tells

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    @override
    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr += data
            del self._stderr[:-STDERR_BYTES]
            return
        self._chunks.append(data)
        self._size += len(data)
        self._news.set()
        if self._size > AHEAD and not self._paused:
            self._paused = True
            self._stdout().pause_reading()

    @override
    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self._room.set()
        elif fd == 1:
            self._ended = True
            self._news.set()
        else:
            self._stderr_done.set()

    @override
    def process_exited(self) -> None:
        assert self._transport is not None
        code = self._transport.get_returncode()
        if not self._exited.done():
            self._exited.set_result(0 if code is None else code)

    @override
    def pause_writing(self) -> None:
        """The command does not read; asyncio calls this for stdin's pipe."""
        self._room.clear()

    @override
    def resume_writing(self) -> None:
        """The command reads again."""
        self._room.set()


@asynccontextmanager
async def run(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> AsyncIterator[Running]:
    """Run a command in a process group of its own; leaving the context kills the group.

    Raises OSError where it cannot be started.
    """
    _, process = await asyncio.get_running_loop().subprocess_exec(
        Running, *argv, env=dict(env), cwd=cwd, start_new_session=True
    )
    try:
        yield process
    finally:
        await process.end()


async def output(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path = Path("/"), data: bytes = b"") -> bytes:
    """The stdout of a command that is expected to succeed and to say little.

    Raises OSError where it cannot be started, ChildProcessError with its last words where it failed.
    """
    async with run(argv, env=env, cwd=cwd) as process:
        with suppress(BrokenPipeError):
            await process.write(data)
        await process.close_stdin()
        said = bytearray()
        while part := await process.read():
            said += part
        if code := await process.wait():
            words = process.stderr().strip() or said.decode(errors="replace").strip()
            raise ChildProcessError(f"{argv[0]}: exit code {code}: {words[-2000:]}")
        return bytes(said)
