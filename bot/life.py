"""The life of one running job: launched, followed, steered; each step can be taken again after a kill."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from dataclasses import replace

from bot import turn
from bot.closing import Closing, stopped
from bot.errors import JobEnded, Stale, UserError
from bot.journal import ClaudeReader, OutputReader, Reading
from bot.launch import launch
from bot.model import Ask, AskKind, AskState, AuditEntry, Job, JobKind, JobState, Session
from bot.question import Question
from bot.record import Parts, Record
from bot.site import Site
from bot.stream import Inbox
from executor import claude
from executor.backend import Denial
from executor.errors import BoxFailed, ExecutorError, InputClosed, JobUnknown
from executor.events import AskClosed, Event, FollowUp, Notice, Started, Usage
from executor.frames import Chunk, Exited, Lost, Unknown

log = logging.getLogger(__name__)

_DOMAIN_ASKS = 10
"""Domains that one job may ask for; more are only told."""


class Life:
    """One job that is not queued any more."""

    def __init__(self, job: Job, site: Site, parts: Parts) -> None:
        self._record = Record(job, parts, site.project.ask_minutes)
        self._closing = Closing(self._record, site, parts)
        self._site = site
        self._parts = parts
        self._store = parts.store
        self._lock = asyncio.Lock()  # between a follow-up and the end of input: one of them is first
        self._closed = False
        self._prompted = False
        self._stopping = bool(job.reason)
        self._launching: asyncio.Task[None] | None = None
        self._sent: set[str] = set()
        self._refused: set[tuple[str, int]] = set()
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
        if session is None:
            raise UserError("its session was deleted")
        ending = await (self._push_alone(session) if self._is_push else self._work(session))
        await self._closing.finish(session, ending, self._before)

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
        if self.job.state is not JobState.RUNNING:
            await self._record.transition(JobState.STARTING, started=self._parts.clock())
            await self._site.backend.start(self._site.box)
            await self._record.transition(JobState.RUNNING, events=[Started(session.branch)])
        if self.job.phase == "":
            await self._closing.push(session)
        return turn.Ending(JobState.SUCCEEDED, 0)

    async def _work(self, session: Session) -> turn.Ending:
        if self.job.state is JobState.RUNNING:
            await self._revive()
        elif not await self._launched(session):
            await self._kill()
            return stopped(self.job.reason)
        async with self._site.stream.follow(self.job.id, self.job.offset) as inbox:
            if self._stopping:
                await self._kill()
            elif self.job.kind is JobKind.CLAUDE:
                await self._resend()
            return await self._follow(inbox, session)

    async def _revive(self) -> None:
        """Make sure that the way out of a job found running is open; the job itself needs nothing of us."""
        try:
            await self._site.backend.start(self._site.box)
        except BoxFailed as error:
            await self._record.tell("error", "box", str(error))

    async def _launched(self, session: Session) -> bool:
        """Launch the job; False when it was stopped meanwhile."""
        self._launching = asyncio.create_task(self._launch(session), name=f"launch {self.job.id}")
        if self._stopping:
            self._launching.cancel()
        try:
            await self._launching
        except asyncio.CancelledError:
            self._launching.cancel()
            if not self._stopping:
                raise
            return False
        finally:
            self._launching = None
        return True

    async def _launch(self, session: Session) -> None:
        self._before = await launch(self._record, self._site, self._parts, session)

    # steer

    async def follow_up(self, actor: str, text: str, audit: AuditEntry, *, seen_id: str) -> bool:
        """Hand the running Claude a further message; False when it takes none any more."""
        async with self._lock:
            if self._closed or self._stopping or not self._prompted:
                return False
            entry = (await self._record.append([FollowUp(actor, text)], audit=[audit], seen_id=seen_id))[0]
            await self._send_text(entry.seq, text)
            return True

    async def send_answers(self) -> None:
        """Hand Claude what people answered, each request once all its questions have an answer."""
        requests: dict[str, list[Ask]] = defaultdict(list)
        for ask in await self._store.unsent_answers(self.job.id):
            if ask.kind in (AskKind.PERMISSION, AskKind.QUESTION, AskKind.PLAN):
                requests[json.loads(ask.request)["request_id"]].append(ask)
        mode = claude.Options(session_id="", permissions=self._site.project.permissions).mode
        for asks in requests.values():
            line = claude.answer_line([(ask.request, ask.answer) for ask in asks], mode=mode)
            if line is not None:
                await self._send(line)
                for ask in asks:
                    await self._store.mark_sent(ask.id)

    async def stop(self, reason: str) -> None:
        """Stop the job and return when nothing of it lives."""
        self._stopping = True
        self._record.job = replace(self.job, reason=reason)
        if self._launching is not None:
            self._launching.cancel()
        else:
            await self._kill()

    async def denied(self, denial: Denial) -> None:
        """Tell, and once for each host ask, about a connection that the egress filter refused."""
        where = denial.host if denial.port in (80, 443) else f"{denial.host}:{denial.port}"
        times = f" {denial.count} times" if denial.count > 1 else ""
        text = f"The egress filter refused {denial.host}:{denial.port}{times}. To allow it here: /rdev allow {where}"
        events: list[Event] = [Notice("warning", "denied", text)]
        asks: list[Ask] = []
        if (denial.host, denial.port) not in self._refused and len(self._refused) < _DOMAIN_ASKS:
            self._refused.add((denial.host, denial.port))
            choices = ("this session", f"all of {self.job.project}", "no")
            body = f"Whatever may be reached can be sent anything: {where}"
            question = Question(
                f"domain {where}", AskKind.DOMAIN, f"May it reach {where}?", body, choices, json.dumps(where)
            )
            ask, raised = self._record.ask(question)
            if await self._store.ask(ask.id) is None:
                asks.append(ask)
                events.append(raised)
        await self._record.append(events, asks=asks)

    async def _kill(self) -> None:
        interrupt = claude.interrupt(f"stop {self.job.id}") if self.job.kind is JobKind.CLAUDE else None
        try:
            await self._site.boxrun.stop(self.job.id, interrupt)
        except JobUnknown:
            return

    async def _resend(self) -> None:
        """Send the prompt, and after a restart every message again: the CLI runs a message's id once."""
        await self._send_text(0, self.job.text)
        seq = 0
        while entries := await self._store.entries(self.job.id, seq):
            for entry in entries:
                if isinstance(entry.event, FollowUp):
                    await self._send_text(entry.seq, entry.event.text)
            seq = entries[-1].seq
        self._prompted = True
        await self.send_answers()

    async def _send_text(self, number: int, text: str) -> None:
        identity = turn.message_id(self.job.id, number)
        self._sent.add(identity)
        await self._send(claude.user(text, identity))

    async def _send(self, line: bytes) -> None:
        try:
            await self._site.boxrun.send(self.job.id, line)
        except (InputClosed, JobUnknown):
            # The end of the journal says how it ended; there is nobody left to tell.
            log.info("a message came after the end", extra={"job": self.job.id})

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
                record = last.record if isinstance(last, Exited) else None
                result = reader.result if isinstance(reader, ClaudeReader) else None
                return turn.ending(self.job.kind, record, result, self.job.reason)
            if isinstance(reader, ClaudeReader):
                await self._close_when_idle(reader)

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
            [*reading.events, *(raised for _, raised in asked), *(AskClosed(ask, "withdrawn") for ask in withdrawn)],
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
        claudes = [ask for ask in mine if ask.kind in (AskKind.PERMISSION, AskKind.QUESTION, AskKind.PLAN)]
        return [ask.id for ask in claudes if json.loads(ask.request)["request_id"] in reading.withdrawn]

    async def _close_when_idle(self, reader: ClaudeReader) -> None:
        """End Claude's input when the turn is over and no message of ours still waits in it."""
        if self._closed or not reader.idle(self._sent):
            return
        async with self._lock:
            if reader.idle(self._sent):
                self._closed = True
                await self._site.boxrun.eof(self.job.id)
