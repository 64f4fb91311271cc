"""Everything that comes before a job's process runs; each step may be taken twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot import turn
from bot.model import JobKind, JobState, Session
from bot.record import Parts, Record
from bot.site import Site
from executor.events import Started
from executor.git import Route


async def launch(record: Record, site: Site, parts: Parts, session: Session) -> str:
    """Bring the box up, open the way out, and start the process; the commit of the checkpoint taken before.

    Raises BoxFailed, RepositoryError or CommandFailed with the reason.
    """
    job = record.job
    await record.transition(JobState.STARTING, started=parts.clock())
    await site.backend.start(site.box)
    record.job = replace(record.job, slot=await parts.store.take_slot(job.id, job.project))
    await _allow(record, site, parts, session)
    if job.kind is JobKind.GIT and turn.git_command(job.text, session.name).route is Route.FETCH:
        await site.repository.fetch()
    before = await _start(record, site, parts, session)
    await record.transition(JobState.RUNNING, events=[Started(session.branch)])
    return before


async def _allow(record: Record, site: Site, parts: Parts, session: Session) -> None:
    job = record.job
    grants = await parts.store.grants(job.project, session.id, parts.clock())
    box = [*site.box.domains, *(grant.domain for grant in grants if not grant.session)]
    await site.backend.allow(job.project, 0, box)
    await site.backend.allow(job.project, job.slot, [grant.domain for grant in grants if grant.session])


async def _start(record: Record, site: Site, parts: Parts, session: Session) -> str:
    job = record.job
    begin = site.repository.begin(session.name, f"before {job.id}")
    spec = turn.spec(job, session, site.project, parts.claude, auth=parts.auth)
    if session.claude_started:
        # The worktree is there, and the CLI needs 300 ms before it reads anything: the snapshot is taken
        # meanwhile, and the prompt waits for it. Both come to an end whatever becomes of the other: a start that
        # nobody waits for would outlive its job.
        known, opened = await asyncio.gather(site.boxrun.start(job.id, spec), begin, return_exceptions=True)
        if isinstance(opened, BaseException):
            raise opened
        if isinstance(known, BaseException):
            raise known
        _, before = opened
    else:
        _, before = await begin
        await site.boxrun.start(job.id, spec)
    return before.commit
