"""Added latency from a byte in the journal to the surface, beside a pipe out of the same sandbox."""

from __future__ import annotations

import asyncio

import scripts
from bare import pipe
from figures import Figure, quantile
from place import PROJECT, place
from served import served

PART = "latency"
_PAUSE = 0.025


async def measure(count: int) -> list[Figure]:
    """Let a job print its clock so many times."""
    script = scripts.clocks(count, _PAUSE)
    async with asyncio.timeout(60 + 2 * count * _PAUSE), place() as here:
        async with served(here) as service:
            await service.succeeded(await service.say(f"/shell {PROJECT} true"))
            await service.lags()
            await service.succeeded(await service.say(f"/shell {PROJECT} {script}"))
            lags = await service.lags()
        async with here.backend() as backend:
            bare = await pipe(backend, script)
    assert len(lags) == len(bare) == count
    return [
        Figure(PART, f"{name} of {count} lines", 1000 * quantile(lags, share), "ms", target, False,
               1000 * quantile(bare, share), "a bare pipe")
        for name, share, target in (("p50", 0.5, 20), ("p99", 0.99, 100))
    ]  # fmt: skip
