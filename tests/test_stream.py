"""One box's stream: what one job's reader does never keeps another job's bytes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from plain_backend import PlainBackend, PlainProcess
from typing_extensions import override

from bot.stream import Inbox, Stream
from executor.backend import Box, Container
from executor.durable import Boxrun, Spec
from executor.frames import Chunk, Exited


class Streaming(PlainBackend):
    """A backend whose streams take their time to end once they are let go."""

    def __init__(self, root: Path, *, slow: float = 0) -> None:
        super().__init__(root)
        self._slow = slow
        self._ends: list[asyncio.Event] = []

    @override
    @asynccontextmanager
    async def exec(
        self, project: str, argv: Sequence[str], *, container: Container = Container.AGENT, cwd: str = ""
    ) -> AsyncIterator[PlainProcess]:
        ended = asyncio.Event()
        self._ends.append(ended)
        try:
            async with super().exec(project, argv, container=container, cwd=cwd) as process:
                try:
                    yield process
                finally:
                    if argv[0] == "follow":
                        await asyncio.sleep(self._slow)
        finally:
            ended.set()

    async def quiet(self) -> None:
        """Wait until every command has ended."""
        for ended in self._ends:
            await ended.wait()


async def opened(backend: Streaming) -> tuple[Boxrun, Stream]:
    await backend.start(Box("demo"))
    boxrun = Boxrun(backend, "demo")
    return boxrun, Stream(boxrun, "demo")


async def run(boxrun: Boxrun, job: str, command: str) -> None:
    await boxrun.start(job, Spec(["/bin/sh", "-c", command], cwd="/tmp"))


async def whole(inbox: Inbox) -> bytes:
    """Everything until the job's end."""
    data = b""
    while True:
        for frame in await inbox.take():
            if isinstance(frame, Chunk):
                data += frame.data
            else:
                assert isinstance(frame, Exited)
                return data


async def test_reader_that_leaves_a_full_inbox_does_not_stop_the_other_jobs(tmp_path: Path) -> None:
    backend = Streaming(tmp_path)
    boxrun, stream = await opened(backend)
    await run(boxrun, "loud", "head -c 40000000 /dev/zero")
    await run(boxrun, "other", "sleep 1; echo other")
    async with stream.follow("other", 0) as other:
        async with stream.follow("loud", 0) as loud:
            await loud.take()
            await asyncio.sleep(0.5)  # by now the stream waits for room in the loud one's inbox
        async with asyncio.timeout(10):
            assert await whole(other) == b"other\n"
    await backend.quiet()


@pytest.mark.parametrize("pause", [0, 0.2], ids=["at once", "a little later"])
async def test_stream_that_ends_late_does_not_hide_the_next_one(tmp_path: Path, pause: float) -> None:
    backend = Streaming(tmp_path, slow=0.5)
    boxrun, stream = await opened(backend)
    for job in ("first", "second", "third"):
        await run(boxrun, job, f"echo {job}; sleep 1.5")
    async with stream.follow("first", 0) as first:
        await first.take()
    await asyncio.sleep(pause)
    async with stream.follow("second", 0) as second:
        await second.take()
        await asyncio.sleep(0.6)  # the first stream has ended, and the second is under way
        async with stream.follow("third", 0) as third, asyncio.timeout(10):
            assert await whole(third) == b"third\n"
    await backend.quiet()
