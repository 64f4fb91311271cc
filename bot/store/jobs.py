"""Jobs and their states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bot.database import Connection
from bot.errors import AlreadyAccepted, JobEnded
from bot.model import Job, JobKind, JobState
from bot.store.chain import Audit, record
from bot.store.core import Core
from bot.store.numbering import draft, insert, standing
from bot.store.seen import take
from executor.events import Event

_SELECT = """SELECT id, session, project, kind, state, actor, surface, thread, text, created, slot, "offset", follow,
    phase, seq, started, ended, exit_code, reason, cost_usd, tokens FROM jobs JOIN prompts ON prompts.job = jobs.id """
_FIND = _SELECT + "WHERE id = ?"
_ACTIVE = _SELECT + "WHERE state IN ('queued', 'starting', 'running') ORDER BY created, jobs.rowid"
_IN_VAIN = (
    _SELECT  # noqa: S608 - constants of this module
    + "WHERE jobs.state IN ('starting', 'running') AND EXISTS (SELECT 1 FROM asks WHERE asks.job = jobs.id "
    + "AND asks.state = 'expired' AND asks.kind IN ('permission', 'question', 'plan'))"
)
_NEWEST = "ORDER BY created DESC, jobs.rowid DESC LIMIT ?"
_IN_PROJECT = _SELECT + "WHERE project = ? AND state = ? " + _NEWEST
_IN_SESSION = _SELECT + "WHERE session = ? AND state = ? " + _NEWEST
_ANYWHERE = _SELECT + "WHERE state = ? " + _NEWEST
_INSERT = """INSERT INTO jobs (id, session, project, kind, state, actor, surface, thread, created, slot, "offset",
    follow, phase, seq, started, ended, exit_code, reason, cost_usd, tokens)
    VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, 0, 0, '', '', ?, 0, 0, NULL, '', 0, 0)"""
_PROMPT = "INSERT INTO prompts (job, text) VALUES (?, ?)"
_DELIVER = """INSERT INTO deliveries (job, surface, thread, seq, messages, done)
    SELECT ?, surface, thread, 0, '', 0 FROM threads WHERE session = ?"""
_MOVE = """UPDATE jobs SET state = ?, seq = ?, slot = coalesce(?, slot), started = coalesce(?, started),
    ended = coalesce(?, ended), exit_code = coalesce(?, exit_code), reason = coalesce(?, reason) WHERE id = ?"""
_TAKEN = "SELECT slot FROM jobs WHERE project = ? AND state IN ('queued', 'starting', 'running')"
_SLOT = "UPDATE jobs SET slot = ? WHERE id = ?"
_EDIT = "UPDATE prompts SET text = ? WHERE job = (SELECT id FROM jobs WHERE id = ? AND state = 'queued')"


class Jobs(Core):
    """The turns run in sessions."""

    async def add_job(self, job: Job, events: Sequence[Event], audit: Audit, *, seen_id: str | None = None) -> Job:
        """Accept a job: queued, with its first events, a delivery for each thread of its session, and the id.

        Raises AlreadyAccepted, with nothing changed, when `seen_id` was accepted before.
        """
        drafts = draft(events)

        def add(connection: Connection) -> Job:
            if seen_id is not None and not take(connection, seen_id, self._clock()):
                raise AlreadyAccepted(seen_id)
            where = (job.surface, job.thread)
            connection.execute(
                _INSERT, (job.id, job.session, job.project, job.kind, job.actor, *where, job.created, len(events))
            )
            connection.execute(_PROMPT, (job.id, job.text))
            insert(connection, job.id, 0, drafts, self._clock())
            connection.execute(_DELIVER, (job.id, job.session))
            record(connection, audit, self._clock)
            return _stored(connection, job.id)

        return await self.write(add)

    async def job(self, job_id: str) -> Job | None:
        """The job of that id."""
        return await self.read(lambda connection: _find(connection, job_id))

    async def jobs(
        self,
        *,
        project: str | None = None,
        session: str | None = None,
        states: Iterable[JobState] | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Jobs of the session, else of the project, else of all, in any of the states, newest first."""
        sql, scope = _ANYWHERE, tuple[str, ...]()
        if session is not None:
            sql, scope = _IN_SESSION, (session,)
        elif project is not None:
            sql, scope = _IN_PROJECT, (project,)
        wanted = frozenset(JobState if states is None else states)

        def find_all(connection: Connection) -> list[Job]:
            # One search for each state: asked for several at once, SQLite would read and sort a project's whole past.
            found = [row for state in wanted for row in connection.execute(sql, (*scope, state, limit)).fetchall()]
            found.sort(key=lambda row: row[9], reverse=True)
            return [_job(row) for row in found[:limit]]

        return await self.read(find_all)

    async def active_jobs(self) -> list[Job]:
        """The jobs that are not terminal, oldest first."""
        return await self.read(lambda connection: [_job(row) for row in connection.execute(_ACTIVE).fetchall()])

    async def waiting_in_vain(self) -> list[Job]:
        """The running jobs whose Claude waits for an answer that expired and can never come."""
        return await self.read(lambda connection: [_job(row) for row in connection.execute(_IN_VAIN).fetchall()])

    async def transition(
        self,
        job_id: str,
        to: JobState,
        *,
        events: Sequence[Event] = (),
        audit: Audit = None,
        slot: int | None = None,
        started: float | None = None,
        ended: float | None = None,
        exit_code: int | None = None,
        reason: str | None = None,
    ) -> Job | None:
        """Bring the job into a state, with its events; gives the job, or None, with nothing changed, if it had ended.

        A job that ends gives up its slot, and ends now where `ended` does not say otherwise. Raises KeyError
        for an unknown job.
        """
        drafts = draft(events)

        def move(connection: Connection) -> Job | None:
            stand = standing(connection, job_id)
            if stand.state.terminal:
                return None
            insert(connection, job_id, stand.seq, drafts, self._clock())
            when, place = ended, slot
            if to.terminal:
                when, place = self._clock() if ended is None else ended, 0
            connection.execute(_MOVE, (to, stand.seq + len(events), place, started, when, exit_code, reason, job_id))
            record(connection, audit, self._clock)
            return _stored(connection, job_id)

        return await self.write(move)

    async def take_slot(self, job_id: str, project: str, *, highest: int = 254) -> int:
        """Give the job the lowest slot from 1 that no other living job of the project holds; 0 when none is free.

        A job that holds one keeps it. Raises JobEnded for a terminal job, KeyError for an unknown one.
        """

        def take_lowest(connection: Connection) -> int:
            job = _stored(connection, job_id)
            if job.state.terminal:
                raise JobEnded(job_id)
            taken = {row[0] for row in connection.execute(_TAKEN, (project,)).fetchall()}
            slot = job.slot or next((number for number in range(1, highest + 1) if number not in taken), 0)
            connection.execute(_SLOT, (slot, job_id))
            return slot

        return await self.write(take_lowest)

    async def edit_queued(self, job_id: str, text: str, audit: Audit) -> bool:
        """Change the prompt of a job that is still queued; False, with nothing changed, when it is not."""

        def edit(connection: Connection) -> bool:
            if connection.execute(_EDIT, (text, job_id)).rowcount != 1:
                return False
            record(connection, audit, self._clock)
            return True

        return await self.write(edit)


def _find(connection: Connection, job_id: str) -> Job | None:
    row = connection.execute(_FIND, (job_id,)).fetchone()
    return _job(row) if row else None


def _stored(connection: Connection, job_id: str) -> Job:
    job = _find(connection, job_id)
    if job is None:
        raise KeyError(job_id)
    return job


def _job(row: tuple[Any, ...]) -> Job:
    job_id, session, project, kind, state, *rest = row
    return Job(job_id, session, project, JobKind(kind), JobState(state), *rest)
