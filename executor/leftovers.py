"""What still runs in boxes: asked before squid is ended, and ended where a box is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from executor.durable import Boxrun
from executor.errors import ExecutorError, JobUnknown

log = logging.getLogger(__name__)

_AT_ONCE = 16
"""Boxes that are asked, and jobs that are stopped, side by side."""
_GRACE = 0.5
"""Seconds for a job to end by itself when its whole box is stopped."""


async def stop_all(boxrun: Boxrun) -> None:
    """Stop every job of a box, and what a lost one left."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def stop(job: str) -> None:
        async with room:
            with suppress(JobUnknown):
                await boxrun.stop(job, grace=_GRACE)

    await asyncio.gather(*(stop(job.job) for job in await boxrun.list() if job.state != "exited"))


async def any_runs(boxes: Iterable[Boxrun]) -> bool:
    """Whether a job runs in any of the boxes; when in doubt, yes."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def runs(boxrun: Boxrun) -> bool:
        async with room:
            return any(job.state == "running" for job in await boxrun.list())

    try:
        return any(await asyncio.gather(*(runs(boxrun) for boxrun in boxes)))
    except ExecutorError as e:
        log.warning("the jobs of a box could not be listed, so squid is left to them: %s", e)
        return True
