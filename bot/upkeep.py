"""What happens by the clock: asks expire, old events and ids go; and what the egress filter reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from bot.errors import StoreUnavailable, UserError
from bot.model import AuditEntry, Job
from bot.runner import Runner
from bot.site import Site
from bot.store import Store
from executor.backend import Backend
from executor.errors import ExecutorError

log = logging.getLogger(__name__)

_AGAIN = 5.0
"""Seconds before a task that broke is begun again."""
_HOUR = 3600.0
_DAY = 24 * _HOUR
_UNANSWERED = "nobody answered in time; /rdev resume lets Claude go on, and ask again"


@asynccontextmanager
async def background(*tasks: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Keep the tasks running while in here; one that breaks is logged and begun again."""
    running = [asyncio.create_task(_again(task), name=f"upkeep {number}") for number, task in enumerate(tasks)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _again(task: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await task()
        except Exception:  # a task that ends in silence is worse than one that starts over
            log.exception("a task of the upkeep broke")
        await asyncio.sleep(_AGAIN)


async def expire(store: Store, runner: Runner, *, clock: Callable[[], float] = time.time) -> None:
    """Close asks whose time is over and stop the jobs that waited for them, until cancelled."""
    while True:
        try:
            await store.expire_asks(clock())
            # Not those of what has just expired: a stop that failed, or that a kill prevented, is tried again.
            for job in await store.waiting_in_vain():
                await runner.stop(job, _UNANSWERED, _entry(job))
            wait = min((ask.expires - clock() for ask in await store.open_asks() if ask.expires), default=60.0)
        except (UserError, ExecutorError) as error:
            log.warning("asks could not expire: %s", error)
            wait = _AGAIN
        # New asks live for minutes at least, so looking again once a minute closes each in time.
        await asyncio.sleep(min(max(wait, 0.05), 60.0))


async def forget(store: Store, sites: Iterable[Site], days: int, *, clock: Callable[[], float] = time.time) -> None:
    """Remove events and journals past their retention and ids older than a day, every hour, until cancelled."""
    while True:
        for site in sites:
            await _sweep(store, site, clock() - days * _DAY)
        try:
            await store.forget_seen(clock() - _DAY)
            await store.expire_grants(clock())
            await store.prune(clock() - days * _DAY)
        except StoreUnavailable as error:
            log.warning("nothing was forgotten: %s", error)
        await asyncio.sleep(_HOUR)


async def _sweep(store: Store, site: Site, before: float) -> None:
    """Stop what runs in a box though the store says that it has ended, and remove what ended long ago."""
    try:
        if site.id not in await site.backend.status():
            return
        ended = {status.job for status in await site.boxrun.list() if await _is_over(store, status.job)}
        # Listed once more, after the store was asked: a job may have ended between the two looks.
        for status in await site.boxrun.list():
            if status.job in ended and status.state == "running":
                log.warning("a left-over of an ended job is stopped", extra={"job": status.job})
                await site.boxrun.stop(status.job)
            elif status.job in ended and await _is_over(store, status.job, before):
                await site.boxrun.gc([status.job])
    except (ExecutorError, StoreUnavailable, OSError) as error:
        log.warning("the box of %s could not be swept: %s", site.id, error)


async def _is_over(store: Store, name: str, before: float = float("inf")) -> bool:
    job = await store.job(name)
    return job is None or (job.state.terminal and job.ended < before)


async def report_denials(backend: Backend, runner: Runner) -> None:
    """Tell jobs what the egress filter refused them, until cancelled."""
    async for denial in backend.denials():
        try:
            await runner.denied(denial)
        except StoreUnavailable as error:
            log.warning("a refused connection to %s could not be told: %s", denial.host, error)


def _entry(job: Job) -> AuditEntry:
    return AuditEntry("stop", "rdev", job.project, job.session, job.id, outcome=_UNANSWERED)
