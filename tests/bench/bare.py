"""The same work without rdev, or with one part of it alone: what the figures stand beside."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from place import PROJECT

from executor.backend import Backend
from executor.durable import Boxrun, Chunk
from executor.processes import run

_READ = 1 << 18


async def pipe(backend: Backend, script: str) -> list[float]:
    """The lags of the clocks that bash prints into a pipe out of the sandbox, in seconds."""
    async with backend.exec(PROJECT, ["bash", "-c", script]) as process:
        return await _lags(process.read)


async def pipes(count: int, script: str) -> list[float]:
    """The lags of the clocks that so many bash processes print into a pipe each, in seconds."""
    found = await asyncio.gather(*(_piped(script) for _ in range(count)))
    return [lag for lags in found for lag in lags]


async def cat(backend: Backend, file: str) -> tuple[int, float]:
    """How many bytes a file of the sandbox has, and how many seconds it takes to read them out of it."""
    began, size = time.perf_counter(), 0
    async with backend.exec(PROJECT, ["cat", file]) as process:
        while data := await process.read(_READ):
            size += len(data)
    return size, time.perf_counter() - began


async def follow(backend: Backend, jobs: Sequence[str]) -> float:
    """How many seconds boxrun's follower takes, its start included, until it has told something of each job."""
    boxrun = Boxrun(backend, PROJECT)
    sizes = {status.job: status.size for status in await boxrun.list()}
    missing = set(jobs)
    began = time.perf_counter()
    async with boxrun.follow() as followed:
        for job in jobs:
            await followed.add(job, sizes[job])
        async for frame in followed:
            if isinstance(frame, Chunk):
                missing.discard(frame.job)
            if not missing:
                break
    return time.perf_counter() - began


async def _piped(script: str) -> list[float]:
    async with run(["bash", "-c", script], env={"PATH": os.environ["PATH"]}, cwd=Path("/")) as process:
        return await _lags(process.read)


async def _lags(read: Callable[[int], Awaitable[bytes]]) -> list[float]:
    lags: list[float] = []
    rest = b""
    while data := await read(_READ):
        now = time.time()
        *lines, rest = (rest + data).split(b"\n")
        lags += [now - float(line) for line in lines]
    return lags
