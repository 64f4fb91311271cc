"""Show each job's events in each thread that follows it: in order, once, at the thread's own pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from bot.errors import StoreUnavailable, ThreadGone
from bot.model import Delivery, Entry
from bot.store import Store
from executor.events import Completed

log = logging.getLogger(__name__)

_BACKOFF = (0.2, 1, 5, 30)
"""Seconds between attempts of a surface that fails; the last one repeats."""


class Surface(Protocol):
    """A place where people follow jobs in threads."""

    name: str

    async def open(self, title: str, channel: str) -> str:
        """A new thread for a session, `project/name`, in the channel of the message that began it; the thread's id."""

    async def show(self, thread: str, entries: Sequence[Entry]) -> None:
        """Show these events of one job, in order, and return when they are really there."""

    async def shown(self, thread: str, job: str) -> int:
        """The last event of the job that is really there, read back from the surface; 0 for none."""


class Deliveries:
    """One task for each thread and job that is not yet shown whole."""

    def __init__(self, store: Store, surfaces: Sequence[Surface]) -> None:
        self._store = store
        self._surfaces = {surface.name: surface for surface in surfaces}
        self._tasks: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def __aenter__(self) -> Deliveries:
        for delivery in await self._store.deliveries():
            self._start(delivery)
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def surface(self, name: str) -> Surface | None:
        """The surface of that name, if it is connected."""
        return self._surfaces.get(name)

    async def follow(self, job: str) -> None:
        """Begin to show a job in every thread that the store says follows it."""
        for delivery in await self._store.deliveries(job=job):
            self._start(delivery)

    async def shown(self, job: str) -> None:
        """Wait until every connected thread shows the job to its end."""
        await asyncio.gather(*(task for (known, _, _), task in list(self._tasks.items()) if known == job))

    def _start(self, delivery: Delivery) -> None:
        key = (delivery.job, delivery.surface, delivery.thread)
        surface = self._surfaces.get(delivery.surface)
        if surface is None or key in self._tasks:
            return
        task = asyncio.create_task(self._deliver(surface, delivery), name=f"deliver {' '.join(key)}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _deliver(self, surface: Surface, delivery: Delivery) -> None:
        attempt = 0
        while True:
            try:
                await self._show(surface, delivery)
            except ThreadGone as error:
                log.warning("nobody can be shown this any more: %s", error, extra={"job": delivery.job})
                await self._store.deliver(delivery.job, delivery.surface, delivery.thread, delivery.seq, done=True)
                return
            except StoreUnavailable as error:
                log.warning("delivery waits for the store: %s", error, extra={"job": delivery.job})
            except Exception:  # a surface may fail in any way of its own; what it shows is read back before going on
                log.exception("a surface failed", extra={"job": delivery.job, "surface": surface.name})
            else:
                return
            await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
            attempt += 1

    async def _show(self, surface: Surface, delivery: Delivery) -> None:
        job, thread = delivery.job, delivery.thread
        # What is really there counts, not what the store believes: a kill may fall between the two.
        seq = await surface.shown(thread, job)
        while True:
            await self._store.wait_beyond(job, seq)
            entries = await self._store.entries(job, seq)
            await surface.show(thread, entries)
            seq = entries[-1].seq
            done = isinstance(entries[-1].event, Completed)
            await self._store.deliver(job, surface.name, thread, seq, done=done)
            if done:
                return
