"""Run jobs: start what may start, follow what runs, end what ended, and find it all again after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bot.config import ServiceLimits
from bot.errors import JobEnded, StoreUnavailable, UserError
from bot.life import Life
from bot.model import AuditEntry, Job, JobState
from bot.record import Parts
from bot.site import Site
from bot.store import Store
from executor.backend import Denial
from executor.events import Completed

log = logging.getLogger(__name__)


class Runner:
    """Owns one task for each job that is not queued, and decides which queued job is next."""

    def __init__(
        self, sites: Mapping[str, Site], parts: Parts, limits: ServiceLimits, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._sites = sites
        self._parts = parts
        self._limits = limits
        self._clock = clock
        self._lives: dict[str, Life] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: dict[str, Job] = {}
        self._held: Counter[str] = Counter()
        self._leaving = False

    @property
    def _store(self) -> Store:
        return self._parts.store

    async def __aenter__(self) -> Runner:
        """Take up every job that the store says has not ended."""
        for job in await self._store.active_jobs():
            if job.project not in self._sites:
                await self._orphan(job)
            elif job.state is JobState.QUEUED:
                self._queue[job.id] = job
            else:
                self._begin(job)
        self._pump()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the jobs: they go on in their boxes."""
        self._leaving = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def check_room(self) -> None:
        """Raise UserError when the queue is full."""
        if len(self._queue) >= self._limits.queue:
            raise UserError(
                f"{len(self._queue)} jobs wait already, which is the limit (limits.queue). Try again later."
            )

    def submit(self, job: Job) -> int:
        """Queue an accepted job; how many are before it, 0 when it starts at once."""
        self._queue[job.id] = job
        self._pump()
        return list(self._queue).index(job.id) + 1 if job.id in self._queue else 0

    def life(self, job: str) -> Life | None:
        """The running job, if it runs."""
        return self._lives.get(job)

    def live_in(self, session: str) -> Life | None:
        """The job that runs in a session."""
        return next((life for life in self._lives.values() if life.job.session == session), None)

    async def stop(self, job: Job, reason: str, audit: AuditEntry) -> bool:
        """Stop a job, queued or running, and wait until nothing of it lives; False when it had ended."""
        if job.id in self._queue:
            return await self._cancel(job, reason, audit)
        life = self._lives.get(job.id)
        if life is None:
            return False
        try:
            # The reason goes first: a kill of ours in between must not make a stop look like a failure.
            known = await self._store.transition(job.id, life.job.state, audit=audit, reason=reason)
        except StoreUnavailable as error:
            await life.stop(reason)
            raise UserError(f"It is stopped, but that could not be recorded. {error}") from error
        if known is not None:
            await life.stop(reason)
        return known is not None

    async def _cancel(self, job: Job, reason: str, audit: AuditEntry) -> bool:
        """End a queued job; where the store cannot, it stays queued."""
        ended = Completed(JobState.CANCELLED, 130, 0, reason)
        with self.held(job.id):
            changed = await self._store.transition(
                job.id,
                JobState.CANCELLED,
                events=[ended],
                audit=audit,
                ended=self._clock(),
                reason=reason,
                exit_code=130,
            )
            self._queue.pop(job.id, None)
        return changed is not None

    @contextmanager
    def held(self, place: str) -> Iterator[None]:
        """Begin nothing in a session or project, or no queued job of that id, while in here."""
        self._held[place] += 1
        try:
            yield
        finally:
            self._held -= Counter([place])  # which forgets what is held no more
            self._pump()

    async def ended(self, job: str) -> None:
        """Wait until a job that is not queued is over in the store."""
        if (task := self._tasks.get(job)) is not None:
            await asyncio.wait([task])

    async def denied(self, denial: Denial) -> None:
        """Tell the job that a connection was refused."""
        for life in self._lives.values():
            if life.job.slot and (life.job.project, life.job.slot) == (denial.project, denial.slot):
                try:
                    await life.denied(denial)
                except JobEnded:
                    log.info("a refused connection came after the end of its job", extra={"job": life.job.id})
                return

    def _pump(self) -> None:
        """Start what may start, oldest first: one job at a time in a session, and no more than the limits."""
        for job in list(self._queue.values()):
            if self._leaving or len(self._lives) >= self._limits.jobs:
                return
            if self._blocked(job):
                continue
            del self._queue[job.id]
            self._begin(job)

    def _blocked(self, job: Job) -> bool:
        lives = [life.job for life in self._lives.values() if life.job.project == job.project]
        earlier = any(
            other.session == job.session and other.created < job.created
            for other in self._queue.values()
            if other.id != job.id
        )
        return (
            earlier
            or any(self._held[place] for place in (job.id, job.session, job.project))
            or len(lives) >= self._limits.jobs_per_project
            or any(other.session == job.session for other in lives)
        )

    def _begin(self, job: Job) -> None:
        life = self._lives[job.id] = Life(job, self._sites[job.project], self._parts)
        task = asyncio.create_task(life.run(), name=f"job {job.id}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._over(job.id))

    def _over(self, job: str) -> None:
        del self._lives[job], self._tasks[job]
        self._pump()

    async def _orphan(self, job: Job) -> None:
        reason = f"the project “{job.project}” is no longer in the configuration"
        await self._store.transition(
            job.id,
            JobState.FAILED,
            events=[Completed(JobState.FAILED, 1, 0, reason)],
            audit=AuditEntry(job.kind, job.actor, job.project, job.session, job.id, job.text, outcome="failed"),
            ended=self._clock(),
            reason=reason,
            exit_code=1,
        )
