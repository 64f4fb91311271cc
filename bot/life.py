"""The life of one running job: launched, followed, steered, ended; each step can be taken again after a kill."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from executor.claude_translate import AskRequest

from bot import turn
from bot.config import Claude
from bot.errors import JobEnded, Stale, StoreUnavailable, UserError
from bot.journal import ClaudeReader, OutputReader, Reading
from bot.model import Ask, AskKind, AskState, AuditEntry, Entry, Job, JobKind, JobState, Session
from bot.redaction import Redactor
from bot.site import Site
from bot.store import Store
from bot.stream import Inbox
from executor import claude
from executor.backend import Denial
from executor.durable import Chunk, Exited, Lost, Unknown
from executor.errors import ExecutorError, InputClosed, JobUnknown, RepositoryError
from executor.events import (
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    Event,
    FollowUp,
    Notice,
    Pushed,
    Started,
    Usage,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_BACKOFF = (0.1, 0.5, 2, 5)
"""Seconds between attempts to write while the store cannot."""
_DOMAIN_ASKS = 10
"""Domains that one job may ask for; more are only told."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every job's life needs of the service."""

    store: Store
    redactor: Redactor
    claude: Claude
    auth: str
    clock: Callable[[], float] = time.time


class Life:
    """One job that is not queued any more."""

    def __init__(self, job: Job, site: Site, parts: Parts) -> None:
        self.job = job
        self._site = site
        self._parts = parts
        self._store = parts.store
        self._lock = asyncio.Lock()  # between a follow-up and the end of input: one of them is first
        self._closed = False
        self._launching: asyncio.Task[None] | None = None
        self._stopping = bool(job.reason)
        self._expected: set[str] = set()
        self._before = ""
        """The commit of the checkpoint before the turn, unless another process took it."""
        self._refused: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Take the job from where it is to its end."""
        try:
            await self._run()
        except (UserError, ExecutorError) as error:
            await self._fail(str(error))
        except Stale:
            log.warning("another service follows this job", extra={"job": self.job.id})
        except Exception:  # whatever breaks on our side must not leave a job that nobody watches
            log.exception("a job failed on our side", extra={"job": self.job.id})
            await self._fail(f"something broke on our side; the log has the details under {self.job.id}")

    async def _run(self) -> None:
        session = await self._store.session(self.job.session)
        if session is None:
            raise UserError("its session was deleted")
        ending = await (self._push_alone(session) if self._is_push else self._work(session))
        await self._finish(session, ending)

    @property
    def _is_push(self) -> bool:
        return self.job.kind is JobKind.GIT and self.job.text.split()[0] == "push"

    # launch

    async def _work(self, session: Session) -> turn.Ending:
        if self.job.state is not JobState.RUNNING:
            self._launching = asyncio.create_task(self._launch(session), name=f"launch {self.job.id}")
            if self._stopping:
                self._launching.cancel()
            try:
                await self._launching
            except asyncio.CancelledError:
                if not self._stopping:
                    self._launching.cancel()
                    raise
                await self._kill()
                return turn.Ending(JobState.CANCELLED, 130, self.job.reason)
            finally:
                self._launching = None
        async with self._site.stream.follow(self.job.id, self.job.offset) as inbox:
            if self._stopping:
                await self._kill()
            elif self.job.kind is JobKind.CLAUDE:
                await self._resend()
            return await self._follow(inbox, session)

    async def _launch(self, session: Session) -> None:
        site, job = self._site, self.job
        await self._transition(JobState.STARTING, started=self._parts.clock())
        await site.backend.start(site.box)
        slot = job.slot or await self._store.take_slot(job.id, job.project)
        self.job = replace(self.job, slot=slot)
        await self._allow(session)
        if job.kind is JobKind.GIT and job.text.split()[0] in ("fetch", "pull"):
            await site.repository.fetch()
        await self._start(session)
        await self._transition(JobState.RUNNING, events=[Started(session.branch)])

    async def _start(self, session: Session) -> None:
        begin = self._site.repository.begin(session.name, f"before {self.job.id}")
        spec = turn.spec(self.job, session, self._site.project, self._parts.claude, auth=self._parts.auth)
        if session.claude_started:
            # The worktree is there, and the CLI needs 300 ms before it reads anything: the snapshot is taken
            # meanwhile, and the prompt waits for it.
            (_, before), _ = await asyncio.gather(begin, self._site.boxrun.start(self.job.id, spec))
        else:
            _, before = await begin
            await self._site.boxrun.start(self.job.id, spec)
        self._before = before.commit

    async def _allow(self, session: Session) -> None:
        grants = await self._store.grants(self.job.project, session.id, self._parts.clock())
        box = [*self._site.box.domains, *(grant.domain for grant in grants if not grant.session)]
        own = [grant.domain for grant in grants if grant.session]
        await self._site.backend.allow(self.job.project, 0, box)
        await self._site.backend.allow(self.job.project, self.job.slot, own)

    async def _resend(self) -> None:
        """Send the prompt, and after a restart every message again: the CLI runs a message's id once."""
        await self._send_text(0, self.job.text)
        seq = 0
        while entries := await self._store.entries(self.job.id, seq):
            for entry in entries:
                if isinstance(entry.event, FollowUp):
                    await self._send_text(entry.seq, entry.event.text)
            seq = entries[-1].seq
        for ask in await self._store.unsent_answers(self.job.id):
            await self.send_answer(ask)

    # steer

    async def follow_up(self, actor: str, text: str, audit: AuditEntry) -> bool:
        """Hand the running Claude a further message; False when it takes none any more."""
        async with self._lock:
            if self._closed or self._launching is not None or self.job.kind is not JobKind.CLAUDE or self._stopping:
                return False
            entry = (await self._append([FollowUp(actor, text)], audit=[audit]))[0]
            await self._send_text(entry.seq, text)
            return True

    async def send_answer(self, ask: Ask) -> None:
        """Hand Claude a person's answer."""
        await self._send(claude.answer_line(ask.request, ask.answer))
        await self._store.mark_sent(ask.id)

    async def stop(self, reason: str) -> None:
        """Stop the job and return when nothing of it lives."""
        self._stopping = True
        self.job = replace(self.job, reason=reason)
        if self._launching is not None:
            self._launching.cancel()
            return
        await self._kill()

    async def denied(self, denial: Denial) -> None:
        """Tell, and once for each host ask, about a connection that the egress filter refused."""
        where = denial.host if denial.port in (80, 443) else f"{denial.host}:{denial.port}"
        text = f"The egress filter refused {denial.host}:{denial.port}" + (
            f" {denial.count} times" if denial.count > 1 else ""
        )
        events: list[Event] = [
            Notice("warning", "denied", f"{text}. To let this session reach it: /rdev allow {where}")
        ]
        asks: list[Ask] = []
        if (denial.host, denial.port) not in self._refused and len(self._refused) < _DOMAIN_ASKS:
            self._refused.add((denial.host, denial.port))
            choices = ("this session", f"all of {self.job.project}", "no")
            body = f"{where}: whatever may be reached can be sent anything."
            request = AskRequest(f"domain {where}", AskKind.DOMAIN, f"May it reach {where}?", body, choices)
            ask = self._ask(request, where)
            asks.append(ask)
            events.append(_raised(ask, request))
        await self._append(events, asks=asks)

    async def _kill(self) -> None:
        interrupt = claude.interrupt(f"stop {self.job.id}") if self.job.kind is JobKind.CLAUDE else None
        try:
            await self._site.boxrun.stop(self.job.id, interrupt)
        except JobUnknown:
            return

    async def _send_text(self, number: int, text: str) -> None:
        identity = turn.message_id(self.job.id, number)
        self._expected.add(identity)
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
        asks = [(self._ask(request), request) for request in reading.asks]
        withdrawn = [self._ask_id(request) for request in reading.withdrawn]
        events = [
            *reading.events,
            *(_raised(ask, request) for ask, request in asks),
            *(AskClosed(ask, "withdrawn") for ask in withdrawn),
        ]
        usage = [event for event in reading.events if isinstance(event, Usage)]
        begun = bool(reading.events) and self.job.kind is JobKind.CLAUDE and not session.claude_started
        await self._append(
            events,
            offset=reading.offset,
            expect_offset=self.job.offset,
            follow=reading.follow,
            asks=[ask for ask, _ in asks],
            close_asks=[(ask, AskState.WITHDRAWN) for ask in withdrawn],
            cost_usd=sum(event.cost_usd for event in usage),
            tokens=sum(event.input_tokens + event.output_tokens for event in usage),
            session_changes={"claude_started": True} if begun else None,
        )
        self.job = replace(self.job, offset=reading.offset, follow=reading.follow)
        return replace(session, claude_started=True) if begun else session

    async def _close_when_idle(self, reader: ClaudeReader) -> None:
        """End Claude's input when the turn is over and no message of ours still waits in it."""
        if self._closed or not reader.translator.idle(self._expected):
            return
        async with self._lock:
            if reader.translator.idle(self._expected):
                self._closed = True
                await self._site.boxrun.eof(self.job.id)

    def _ask_id(self, request: str) -> str:
        return "a" + hashlib.sha256(f"{self.job.id} {request}".encode()).hexdigest()[:8]

    def _ask(self, request: AskRequest, payload: str = "") -> Ask:
        now = self._parts.clock()
        return Ask(
            id=self._ask_id(request.request_id),
            job=self.job.id,
            project=self.job.project,
            session=self.job.session,
            kind=AskKind(request.kind),
            request=payload or request.payload,
            state=AskState.OPEN,
            created=now,
            expires=now + 60 * self._site.project.ask_minutes,
        )

    # end

    async def _push_alone(self, session: Session) -> turn.Ending:
        if self.job.state is not JobState.RUNNING:
            await self._transition(JobState.STARTING, started=self._parts.clock())
            await self._site.backend.start(self._site.box)
            await self._transition(JobState.RUNNING, events=[Started(session.branch)])
        if self.job.phase == "":
            await self._append([await self._push(session)], phase="pushed")
        return turn.Ending(JobState.SUCCEEDED, 0)

    async def _finish(self, session: Session, ending: turn.Ending) -> None:
        if self.job.kind is not JobKind.GIT and self.job.phase == "" and self.job.started:
            await self._append(await self._commit(session), phase="committed")
        if self.job.kind is JobKind.CLAUDE and self.job.phase == "committed":
            await self._offer_push(session)
        await self._conclude(ending)

    async def _commit(self, session: Session) -> list[Event]:
        subject = self.job.text.strip().splitlines()[0][:100]
        trailers = {"Rdev-Actor": self.job.actor, "Rdev-Job": self.job.id}
        try:
            commit = await self._site.repository.commit(session.name, subject, trailers, self.job.actor)
        except RepositoryError as error:
            log.warning("no commit: %s", error, extra={"job": self.job.id})
            return [Notice("error", "commit", f"The changes could not be committed: {error}")]
        return [Committed(commit.commit, session.branch, commit.stat)] if commit else []

    async def _offer_push(self, session: Session) -> None:
        """Push, or ask whether to, where the turn left something to push."""
        events: list[Event] = []
        asks: list[Ask] = []
        if self._site.project.push != "never" and await self._changed(session):
            if self._site.project.push == "auto":
                events = await self._push_or_tell(session)
            else:
                title = f"Push {session.branch}?"
                request = AskRequest("push", AskKind.PUSH, title, title, ("push", "no"))
                asks = [self._ask(request, session.id)]
                events = [_raised(asks[0], request)]
        await self._append(events, asks=asks, phase="pushed")

    async def _changed(self, session: Session) -> bool:
        """Whether there is something to push, and this turn had a part in it."""
        changes = await self._site.repository.changes(session.name, self._before)
        return bool(changes.since_base and (changes.since or not self._before))

    async def _push_or_tell(self, session: Session) -> list[Event]:
        try:
            return [await self._push(session)]
        except RepositoryError as error:
            return [Notice("error", "push", f"The push failed: {error}")]

    async def _push(self, session: Session) -> Pushed:
        result = await self._site.repository.push(session.name)
        return Pushed(session.branch, result.commit, result.url)

    async def _fail(self, sentence: str) -> None:
        """End the job with a failure of ours or of the box; nothing of it may live on unseen."""
        try:
            await self._kill()
        except (ExecutorError, OSError) as error:
            log.warning("could not stop a failed job: %s", error, extra={"job": self.job.id})
        state = JobState.CANCELLED if self._stopping else JobState.FAILED
        await self._conclude(turn.Ending(state, 1, self.job.reason or sentence))

    async def _conclude(self, ending: turn.Ending) -> None:
        """The terminal state, the last event and the audit entry, in one transaction."""
        job, now = self.job, self._parts.clock()
        duration = int(1000 * (now - (job.started or job.created)))
        stored = await self._store.job(job.id) or job
        done = Completed(ending.state, ending.exit_code, duration, ending.reason, stored.cost_usd, stored.tokens)
        audit = AuditEntry(
            job.kind, job.actor, job.project, job.session, job.id, job.text, duration, ending.exit_code, ending.state
        )
        await self._persist(
            lambda: self._store.transition(
                job.id,
                ending.state,
                events=[done],
                audit=audit,
                ended=now,
                exit_code=ending.exit_code,
                reason=ending.reason,
                slot=0,
            )
        )
        await self._clear()

    async def _clear(self) -> None:
        try:
            if self.job.slot:
                await self._site.backend.allow(self.job.project, self.job.slot, [])
            await self._site.boxrun.gc([self.job.id])
        except (ExecutorError, OSError) as error:
            log.warning("left-overs of a job stay until the next start: %s", error, extra={"job": self.job.id})

    # store

    async def _tell(self, level: str, code: str, text: str) -> None:
        await self._append([Notice(level, code, text)])

    async def _append(self, events: Sequence[Event], *, phase: str | None = None, **more: Any) -> list[Entry]:
        clean = [self._parts.redactor.clean_event(event) for event in events]
        entries = await self._persist(lambda: self._store.append(self.job.id, clean, phase=phase, **more))
        if phase is not None:
            self.job = replace(self.job, phase=phase)
        return entries

    async def _transition(self, to: JobState, *, events: Sequence[Event] = (), **changes: Any) -> None:
        changed = await self._persist(
            lambda: self._store.transition(self.job.id, to, events=events, audit=None, **changes)
        )
        if changed is None:
            raise JobEnded(self.job.id)
        self.job = replace(changed, reason=self.job.reason or changed.reason)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, and wait for the store where it cannot: what the journal holds is not lost by waiting."""
        attempt = 0
        while True:
            try:
                return await write()
            except StoreUnavailable as error:
                log.warning("a job waits for the store: %s", error, extra={"job": self.job.id})
                await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
                attempt += 1


def _raised(ask: Ask, request: AskRequest) -> AskRaised:
    return AskRaised(ask.id, ask.kind, request.title, request.body, request.choices, request.multiple)
