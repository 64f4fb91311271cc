"""Output through the whole path: journal, events, store, transcript; beside `cat` out of the same sandbox."""

from __future__ import annotations

import asyncio

from bare import cat
from figures import Figure
from place import PROJECT, place
from served import Served, served
from usage import begin_peak, usage

PART = "throughput"
_LINE = "the quick brown fox jumps over the lazy dog and says so in a line of eighty bytes"
_FILE = "/workspace/output"


async def measure(count: int) -> list[Figure]:
    """Print so many megabytes."""
    size = count * 1_000_000
    async with asyncio.timeout(60 + count / 2), place() as here:
        async with served(here) as service:
            await service.succeeded(await service.say(f"/shell {PROJECT} yes '{_LINE}' | head -c {size} >{_FILE}"))
            before = usage(service.pid).rss
            begin_peak(service.pid)
            rate = await _rate(service, size)
            peak = usage(service.pid).peak
        async with here.backend() as backend:
            read, seconds = await cat(backend, _FILE)
        assert read == size
    return [
        Figure(
            PART,
            f"{count} MB, from command to end shown",
            rate,
            "MB/s",
            20,
            True,
            size / 1e6 / seconds,
            "cat in the sandbox",
        ),
        Figure(PART, "memory growth of the service", peak - before, "MiB", 64),
        Figure(PART, "peak memory of the service", peak, "MiB"),
    ]


async def _rate(service: Served, size: int) -> float:
    said = await service.say(f"/shell {PROJECT} cat {_FILE}")
    shown = await service.succeeded(said)
    if shown.size != size:
        raise RuntimeError(f"{shown.size} of {size} bytes were shown")
    return size / 1e6 / (shown.last - said.at)
