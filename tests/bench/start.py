"""From the start of the service's process until it takes messages, beside Python and its imports alone."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from figures import Figure
from place import PROJECT, Place, place
from served import served

PART = "start"


async def measure(count: int) -> list[Figure]:
    """Start a new service, then one that has a past, so many times."""
    async with asyncio.timeout(60 + 10 * count), place() as here:
        first = await _start(here)
        async with served(here) as service:
            await service.succeeded(await service.say(f"/shell {PROJECT} true"))
        later = [await _start(here) for _ in range(count)]
    empty = [await _bare("pass") for _ in range(count)]
    imports = [await _bare("import bot.__main__") for _ in range(count)]
    return [
        Figure(PART, "ready, the first time", first, "s", 1.5, False, statistics.median(empty), "python -c pass"),
        Figure(PART, f"ready, median of {count}", statistics.median(later), "s", 1.5, False,
               statistics.median(imports), "its imports alone"),
        Figure(PART, f"ready, slowest of {count}", max(later), "s", 1.5, False, max(imports), "its imports alone"),
    ]  # fmt: skip


async def _start(here: Place) -> float:
    async with served(here) as service:
        return service.ready - service.began


async def _bare(code: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await process.wait()
    return time.perf_counter() - began
