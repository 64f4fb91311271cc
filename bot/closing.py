"""The end of a job: its changes committed, pushed or offered, and its last state; each step once."""

from __future__ import annotations

import json
import logging

from bot import turn
from bot.model import Ask, AskKind, AskState, AuditEntry, JobKind, JobState, Session
from bot.question import Question
from bot.record import Parts, Record
from bot.site import Site
from bot.talk import CLAUDES
from executor.errors import ExecutorError, RepositoryError
from executor.events import AskClosed, Committed, Completed, Event, Notice, Pushed

log = logging.getLogger(__name__)


class Closing:
    """Ends one job; after a kill it goes on with the step that was not stored."""

    def __init__(self, record: Record, site: Site, parts: Parts) -> None:
        self._record = record
        self._site = site
        self._parts = parts

    async def commit(self, session: Session) -> None:
        """Commit what the turn changed, once."""
        job = self._record.job
        if job.kind is not JobKind.GIT and job.phase == "" and job.state is JobState.RUNNING:
            await self._record.append(await self._commit(session), phase="committed")

    async def offer_push(self, session: Session, before: str) -> None:
        """Push by policy, once; `before` is the commit of the turn's first checkpoint, if known."""
        job = self._record.job
        if job.kind is JobKind.CLAUDE and job.phase == "committed":
            await self._offer_push(session, before)

    async def push(self, session: Session) -> None:
        """Push the session's branch, for a job that does nothing else; raises RepositoryError."""
        pushed = await self._push(session)
        await self._record.append([pushed], phase="pushed", close_asks=await self._settled(session))

    async def _push(self, session: Session) -> Pushed:
        result = await self._site.repository.push(session.name)
        return Pushed(session.branch, result.commit, result.url)

    async def _settled(self, session: Session) -> list[tuple[str, AskState]]:
        """The session's open asks for a push, which a push or a newer ask makes pointless."""
        asks = await self._parts.store.open_asks(session.project)
        mine = [ask for ask in asks if ask.session == session.id and ask.kind is AskKind.PUSH]
        return [(ask.id, AskState.WITHDRAWN) for ask in mine]

    async def conclude(self, ending: turn.Ending) -> None:
        """Close the slot and what Claude still asks; store the last state, event and audit entry together."""
        job, now = self._record.job, self._parts.clock()
        if job.slot:
            await self._close_slot(job.slot)
        await self._withdraw()
        duration = int(1000 * (now - (job.started or job.created)))
        stored = await self._record.patiently(lambda: self._parts.store.job(job.id)) or job
        done = Completed(ending.state, ending.exit_code, duration, ending.reason, stored.cost_usd, stored.tokens)
        audit = AuditEntry(
            action=job.kind,
            actor=job.actor,
            project=job.project,
            session=job.session,
            job=job.id,
            prompt=job.text,
            duration_ms=duration,
            exit_code=ending.exit_code,
            outcome=ending.state,
        )
        await self._record.transition(
            ending.state, events=[done], audit=audit, ended=now, exit_code=ending.exit_code, reason=ending.reason
        )

    async def _withdraw(self) -> None:
        """Close what Claude asked and nobody answered: with the job's end nobody waits for it."""
        job = self._record.job
        asks = await self._record.patiently(lambda: self._parts.store.open_asks(job.project))
        mine = [ask.id for ask in asks if ask.job == job.id and ask.kind in CLAUDES]
        if mine:
            closed = [AskClosed(ask, AskState.WITHDRAWN) for ask in mine]
            await self._record.append(closed, close_asks=[(ask, AskState.WITHDRAWN) for ask in mine])

    async def _close_slot(self, slot: int) -> None:
        job = self._record.job
        try:
            await self._site.backend.allow(job.project, slot, [])
        except (ExecutorError, OSError) as error:
            log.warning("a slot stays open until its next job: %s", error, extra={"job": job.id})

    async def _commit(self, session: Session) -> list[Event]:
        job = self._record.job
        subject = job.text.strip().splitlines()[0][:100]
        trailers = {"Rdev-Actor": job.actor, "Rdev-Job": job.id}
        try:
            commit = await self._site.repository.commit(session.name, subject, trailers, job.actor)
        except RepositoryError as error:
            log.warning("no commit: %s", error, extra={"job": job.id})
            return [Notice("error", "commit", f"The changes could not be committed: {error}")]
        return [Committed(commit.commit, commit.branch, commit.stat)] if commit else []

    async def _offer_push(self, session: Session, before: str) -> None:
        """Push, or ask whether to, where the turn left something to push."""
        policy = self._site.project.push
        events: list[Event] = []
        asks: list[Ask] = []
        if policy != "never" and await self._changed(session, before):
            if policy == "auto":
                events.append(await self._push_or_tell(session))
            else:
                title = f"Push {session.branch}?"
                body = f"{session.branch} goes to the project's remote as it is now."
                question = Question("push", AskKind.PUSH, title, body, ("push", "no"), json.dumps(session.id))
                ask, raised = self._record.ask(question)
                asks.append(ask)
                events.append(raised)
        close = await self._settled(session) if events else []
        await self._record.append(events, asks=asks, close_asks=close, phase="pushed")

    async def _changed(self, session: Session, before: str) -> bool:
        """Whether there is something to push, and this turn had a part in it as far as can be told."""
        try:
            changes = await self._site.repository.changes(session.name, before)
        except RepositoryError as error:
            log.warning("the changes are not known: %s", error, extra={"job": self._record.job.id})
            return False
        return bool(changes.since_base and (changes.since or not before))

    async def _push_or_tell(self, session: Session) -> Event:
        try:
            return await self._push(session)
        except RepositoryError as error:
            return Notice("error", "push", f"The push failed: {error}")


def stopped(reason: str) -> turn.Ending:
    """How a job ends that never ran."""
    return turn.Ending(JobState.CANCELLED, 130, reason)
