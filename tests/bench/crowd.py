"""Two hundred jobs at once: their lag and what they use; and all of them followed again after a kill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import scripts
from bare import follow, pipes
from figures import Figure, quantile
from place import MOST_JOBS, PROJECT, Place, place
from served import Served, served
from usage import Usage, begin_peak, commands, total

LAG, REFOLLOW = "crowd", "refollow"
_PAUSE = 0.1
_SETTLING, _MEASURED = 3, 20
_BARE = 5
"""Seconds."""
_LONGEST = 600
"""Seconds that jobs print, if nobody ends them."""
_GATE = "/workspace/gate"


async def lag(count: int) -> list[Figure]:
    """Let so many jobs print ten lines a second each."""
    async with asyncio.timeout(240), _crowd(count) as (here, service, _):
        await asyncio.sleep(_SETTLING)
        await service.lags()
        begin_peak(service.pid)
        before = _used(here, service)
        began = time.monotonic()
        await asyncio.sleep(_MEASURED)
        after, seconds = _used(here, service), time.monotonic() - began
        lags = await service.lags()
        await service.kill()
    bare = await pipes(count, scripts.clocks(int(_BARE / _PAUSE), _PAUSE))
    cpu = {name: 100 * (after[name].cpu - before[name].cpu) / seconds for name in after}
    name = f"{count} bare pipes"
    return [
        Figure(LAG, "lag p50", _ms(lags, 0.5), "ms", None, False, _ms(bare, 0.5), name),
        Figure(LAG, "lag p99", _ms(lags, 0.99), "ms", 500, False, _ms(bare, 0.99), name),
        Figure(LAG, "peak memory of the service", after["service"].peak, "MiB", 300),
        Figure(LAG, "lines shown", len(lags) / seconds, "/s"),
        *(Figure(LAG, f"processor, {each}", used, "%") for each, used in cpu.items()),
        Figure(LAG, "memory share of one boxrun runner", after["runners"].share / count, "MiB"),
    ]


async def refollow(count: int) -> list[Figure]:
    """Kill the service while so many jobs run, and start it again."""
    async with asyncio.timeout(240), _crowd(count) as (here, service, jobs):
        await asyncio.sleep(1)
        await service.kill()
        async with here.backend() as backend:
            bare = await follow(backend, jobs)
        async with served(here) as again:
            shown = await asyncio.gather(*(again.until(job, "output") for job in jobs))
            await again.kill()
    took = max(each.first["output"] for each in shown) - again.began
    return [
        Figure(REFOLLOW, f"{count} jobs' next line shown", took, "s", 3, False, bare, "boxrun follow alone"),
        Figure(REFOLLOW, "of that, until it was ready", again.ready - again.began, "s"),
    ]


@asynccontextmanager
async def _crowd(count: int) -> AsyncIterator[tuple[Place, Served, Sequence[str]]]:
    """A service with so many jobs, each in its own session, that all began to print just now; and their ids."""
    if count >= MOST_JOBS:
        raise ValueError(f"a box runs {MOST_JOBS} jobs at most, and one of them is the signal to begin")
    async with place() as here:
        threads = await here.add_sessions(count)
        async with served(here) as service:
            await service.succeeded(await service.say(f"/shell {PROJECT} mkfifo {_GATE}"))
            script = scripts.waiting_clocks(int(_LONGEST / _PAUSE), _PAUSE, _GATE)
            said = await asyncio.gather(*(service.say(f"/shell {PROJECT} {script}", thread) for thread in threads))
            await asyncio.gather(*(service.until(each.job, "output") for each in said))
            await service.succeeded(await service.say(f"/shell {PROJECT} exec 3>{_GATE}; sleep 1"))
            yield here, service, [each.job for each in said]


def _used(here: Place, service: Served) -> dict[str, Usage]:
    return {
        "service": total([service.pid]),
        "follower": total(commands("--root", str(here.box), "follow")),
        "runners": total(commands("--root", str(here.box), "start")),
    }


def _ms(seconds: Sequence[float], share: float) -> float:
    return 1000 * quantile(seconds, share)
