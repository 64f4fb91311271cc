"""Accept work: a session to do it in, a thread to show it in, and the job; once for each message."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from weakref import WeakValueDictionary

from bot.context import Context
from bot.errors import AlreadyAccepted
from bot.lookup import Message
from bot.model import AuditEntry, Job, JobKind, JobState, Session
from bot.reply import Reply
from bot.site import Site
from executor.events import Accepted

SCRATCH = "scratch"
"""The session of commands that are written outside any thread."""


class Intake:
    """Takes what is to be done, and gives it to the runner."""

    def __init__(self, context: Context) -> None:
        self._lookup = context.lookup
        self._store = context.store
        self._runner = context.runner
        self._deliveries = context.deliveries
        self._clock = context.clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def check(self, message: Message) -> None:
        """Raise AlreadyAccepted for a message that was accepted, UserError where no job can wait any more."""
        if message.id and await self._store.seen(message.id) is not None:
            raise AlreadyAccepted(message.id)
        self._runner.check_room()

    async def take(self, message: Message) -> None:
        """Accept a message that makes no job; raises AlreadyAccepted for one that was accepted."""
        if message.id and not await self._store.accept(message.id):
            raise AlreadyAccepted(message.id)

    async def session(self, site: Site, message: Message) -> Session:
        """The thread's session where it is the project's, else the project's session for loose commands."""
        here = await self._lookup.here(message)
        if here is not None and here.project == site.id:
            return here
        async with self._lock(site.id):
            found = await self._store.session_named(site.id, SCRATCH)
            return found if found is not None else await self._scratch(site, message)

    async def submit(self, session: Session, kind: JobKind, text: str, message: Message) -> Reply:
        """Accept a job."""
        await self.check(message)
        thread = await self._thread(session, message)
        job = Job(
            id="j" + secrets.token_hex(5),
            session=session.id,
            project=session.project,
            kind=kind,
            state=JobState.QUEUED,
            actor=message.actor,
            surface=message.surface,
            thread=thread,
            text=text,
            created=self._clock(),
        )
        # Whoever waits for the answer may go away, but not between the store and the queue.
        before = await asyncio.shield(self._accept(job, message))
        return Reply(f"It waits its turn: {before} before it." if before else "", thread, job.id)

    async def _accept(self, job: Job, message: Message) -> int:
        audit = AuditEntry(job.kind, job.actor, job.project, job.session, job.id, job.text, outcome="accepted")
        accepted = [Accepted(job.actor, job.kind, job.text)]
        before = self._runner.submit(await self._store.add_job(job, accepted, audit, seen_id=message.id or None))
        await self._deliveries.follow(job.id)
        return before

    async def _scratch(self, site: Site, message: Message) -> Session:
        identity = "s" + secrets.token_hex(5)
        session = Session(identity, site.id, SCRATCH, str(uuid.uuid4()), message.actor, self._clock())
        await self._store.add_session(session, entry("session", message, session))
        return session

    async def _thread(self, session: Session, message: Message) -> str:
        """The session's thread on the message's surface, opened where there is none yet."""
        async with self._lock(session.id):
            known = await self._store.threads_of(session.id)
            threads = [thread for surface, thread in known if surface == message.surface]
            if threads:
                return message.thread if message.thread in threads else threads[0]
            surface = self._deliveries.surface(message.surface)
            if surface is None:
                return ""
            thread = await surface.open(f"{session.project}/{session.name}", message.channel)
            await self._store.bind(message.surface, thread, session.id)
            return thread

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def entry(action: str, message: Message, session: Session, job: str = "", outcome: str = "done") -> AuditEntry:
    """What a message does to a session, for the audit log."""
    return AuditEntry(action, message.actor, session.project, session.id, job, message.text, outcome=outcome)
