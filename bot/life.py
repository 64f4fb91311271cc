"""The life of one running job: launched, followed, steered; each step can be taken again after a kill."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from dataclasses import replace

from bot import turn
from bot.closing import Closing, stopped
from bot.errors import JobEnded, Stale, UserError
from bot.journal import ClaudeReader, OutputReader, Reading
from bot.launch import launch
from bot.model import AskState, AuditEntry, Job, JobKind, JobState, Session
from bot.record import Parts, Record
from bot.refusals import Refusals
from bot.site import Site
from bot.stream import Inbox
from bot.talk import CLAUDES, Talk
from executor import claude
from executor.backend import Denial
from executor.errors import ExecutorError, JobUnknown
from executor.events import AskClosed, Started, Usage
from executor.frames import Chunk, Exited, Lost, Unknown

log = logging.getLogger(__name__)


class Life:
    """One job that is not queued any more."""

    def __init__(self, job: Job, site: Site, parts: Parts) -> None:
        self._record = Record(job, parts, site.project.ask_minutes)
        self._closing = Closing(self._record, site, parts)
        self._site = site
        self._parts = parts
        self._store = parts.store
        self._talk = Talk(self._record, site, parts.store)
        self._stopping = bool(job.reason)
        self._step: asyncio.Task[None] | None = None
        self._refusals = Refusals(self._record, parts.store)
        self._before = ""

    @property
    def job(self) -> Job:
        """The job as it stands."""
        return self._record.job

    async def run(self) -> None:
        """Take the job from where it is to its end."""
        try:
            await self._run()
        except (UserError, ExecutorError) as error:
            await self._fail(str(error))
        except (Stale, JobEnded) as error:
            log.warning("another service has taken this job: %r", error, extra={"job": self.job.id})
        except Exception:  # whatever breaks on our side must not leave a job that nobody watches
            log.exception("a job failed on our side", extra={"job": self.job.id})
            await self._fail(f"something broke on our side; the log has the details under {self.job.id}")

    async def _run(self) -> None:
        session = await self._store.session(self.job.session)
        if session is None or session.deleted:
            raise UserError("its session was deleted")
        ending = await (self._push_alone(session) if self._is_push else self._work(session))
        await self._closing.conclude(await self._finished(session, ending))

    async def _finished(self, session: Session, ending: turn.Ending) -> turn.Ending:
        """Commit and push by policy, unless a stop comes first: what was stopped is for its person to push."""
        await self._closing.commit(session)
        if not self._stopping and await self._taken(self._closing.offer_push(session, self._before)):
            return ending
        return stopped(self.job.reason) if ending.state is JobState.SUCCEEDED else ending

    async def _taken(self, step: Coroutine[None, None, None]) -> bool:
        """Take a step that a stop cuts short; False where one did."""
        task = self._step = asyncio.create_task(step, name=f"step of {self.job.id}")
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # the service leaves, and not before what it began here has ended
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            self._step = None
        if task.cancelled():
            return False
        task.result()
        return True

    async def _fail(self, sentence: str) -> None:
        """End the job with a failure of ours or of the box; nothing of it may live on unseen."""
        try:
            await self._kill()
        except (ExecutorError, OSError) as error:
            log.warning("could not stop a failed job: %s", error, extra={"job": self.job.id})
        ending = stopped(self.job.reason) if self._stopping else turn.Ending(JobState.FAILED, 1, sentence)
        try:
            await self._closing.conclude(ending)
        except JobEnded:
            log.info("it had ended before", extra={"job": self.job.id})

    # launch

    @property
    def _is_push(self) -> bool:
        return self.job.kind is JobKind.GIT and self.job.text == "push"

    async def _push_alone(self, session: Session) -> turn.Ending:
        if self._stopping or not await self._taken(self._push(session)):
            return stopped(self.job.reason)
        return turn.Ending(JobState.SUCCEEDED, 0)

    async def _push(self, session: Session) -> None:
        if self.job.state is not JobState.RUNNING:
            await self._record.transition(JobState.STARTING, started=self._parts.clock())
            await self._site.backend.start(self._site.box)
            await self._record.transition(JobState.RUNNING, events=[Started(session.branch)])
        if self.job.phase == "":
            await self._closing.push(session)

    async def _work(self, session: Session) -> turn.Ending:
        if self.job.state is JobState.RUNNING:
            await self._revive()
        elif self._stopping or not await self._taken(self._launch(session)):
            await self._kill()
            return stopped(self.job.reason)
        async with self._site.stream.follow(self.job.id, self.job.offset) as inbox:
            if self._stopping:
                await self._kill()
            elif self.job.kind is JobKind.CLAUDE:
                await self._talk.begin()
            return await self._follow(inbox, session)

    async def _revive(self) -> None:
        """Make sure that the way out of a job found running is open; the job itself needs nothing of us."""
        try:
            await self._site.backend.start(self._site.box)
        except (ExecutorError, OSError) as error:
            await self._record.tell("error", "box", str(error))

    async def _launch(self, session: Session) -> None:
        self._before = await launch(self._record, self._site, self._parts, session)

    # steer

    async def follow_up(self, actor: str, text: str, audit: AuditEntry, *, seen_id: str) -> bool:
        """Hand the running Claude a further message; False when it takes none any more."""
        return not self._stopping and await self._talk.follow_up(actor, text, audit, seen_id=seen_id)

    async def send_answers(self) -> None:
        """Hand Claude what people answered."""
        await self._talk.send_answers()

    async def stop(self, reason: str) -> None:
        """Stop the job, and return when nothing of it lives but what keeps its files."""
        self._stopping = True
        self._record.job = replace(self.job, reason=reason)
        if (step := self._step) is not None:
            step.cancel()
            await asyncio.wait([step])
        elif self.job.state is JobState.RUNNING:
            await self._kill()

    async def denied(self, denial: Denial) -> None:
        """Tell of a connection that the egress filter refused."""
        await self._refusals.denied(denial)

    async def _kill(self) -> None:
        interrupt = claude.interrupt(f"stop {self.job.id}") if self.job.kind is JobKind.CLAUDE else None
        try:
            await self._site.boxrun.stop(self.job.id, interrupt)
        except JobUnknown:
            return

    # follow

    async def _follow(self, inbox: Inbox, session: Session) -> turn.Ending:
        reader = self._reader()
        while True:
            data, last = bytearray(), None
            for frame in await inbox.take():
                match frame:
                    case Chunk():
                        data += frame.data
                    case Exited() | Lost() | Unknown():
                        last = frame
            reading = reader.read(bytes(data), final=last is not None)
            if reading is not None:
                session = await self._keep(reading, session)
            if last is not None:
                self._talk.close()
                record = last.record if isinstance(last, Exited) else None
                result = reader.result if isinstance(reader, ClaudeReader) else None
                return turn.ending(self.job.kind, record, result, self.job.reason)
            if isinstance(reader, ClaudeReader):
                await self._talk.end_when_idle(reader)

    def _reader(self) -> ClaudeReader | OutputReader:
        redactor = self._parts.redactor
        if self.job.kind is JobKind.CLAUDE:
            return ClaudeReader(redactor, self.job.offset, self.job.follow)
        return OutputReader(redactor, self.job.offset)

    async def _keep(self, reading: Reading, session: Session) -> Session:
        """Store what was read, with everything that follows from it, in one transaction."""
        asked = [self._record.ask(question) for question in reading.asks]
        withdrawn = await self._withdrawn(reading)
        usage = [event for event in reading.events if isinstance(event, Usage)]
        begun = bool(reading.events) and self.job.kind is JobKind.CLAUDE and not session.claude_started
        await self._record.append(
            [*(raised for _, raised in asked), *(AskClosed(ask, "withdrawn") for ask in withdrawn)],
            read=reading.events,
            offset=reading.offset,
            expect_offset=self.job.offset,
            follow=reading.follow,
            asks=[ask for ask, _ in asked],
            close_asks=[(ask, AskState.WITHDRAWN) for ask in withdrawn],
            cost_usd=sum(event.cost_usd for event in usage),
            tokens=sum(event.input_tokens + event.output_tokens for event in usage),
            session_changes={"claude_started": True} if begun else None,
        )
        self._record.job = replace(self.job, offset=reading.offset, follow=reading.follow)
        return replace(session, claude_started=True) if begun else session

    async def _withdrawn(self, reading: Reading) -> list[str]:
        """The open asks of the requests that the CLI took back."""
        if not reading.withdrawn:
            return []
        mine = [ask for ask in await self._store.open_asks(self.job.project) if ask.job == self.job.id]
        claudes = [ask for ask in mine if ask.kind in CLAUDES]
        return [ask.id for ask in claudes if json.loads(ask.request)["request_id"] in reading.withdrawn]
