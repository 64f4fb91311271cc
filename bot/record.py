"""One running job in the store: its state and its events, written as soon as the store can."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from bot.config import Claude
from bot.errors import JobEnded, StoreUnavailable
from bot.model import Ask, AskState, Entry, Job, JobState
from bot.question import Question
from bot.redaction import Redactor
from bot.store import Store
from executor.events import AskRaised, Event, Notice

log = logging.getLogger(__name__)
T = TypeVar("T")

_BACKOFF = (0.1, 0.5, 2, 5)
"""Seconds between attempts to write while the store cannot; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every running job needs of the service."""

    store: Store
    redactor: Redactor
    claude: Claude
    auth: Literal["api-key", "oauth"]
    clock: Callable[[], float] = time.time


class Record:
    """The job as it stands, and the only way its life writes to the store."""

    def __init__(self, job: Job, parts: Parts, ask_minutes: int) -> None:
        self.job = job
        self._store = parts.store
        self._redactor = parts.redactor
        self._clock = parts.clock
        self._ask_seconds = 60.0 * ask_minutes

    async def append(
        self, events: Sequence[Event], *, read: Sequence[Event] = (), phase: str | None = None, **more: Any
    ) -> list[Entry]:
        """Store events, redacted, with whatever must be stored with them; see Store.append.

        Before them come those that were read of the journal: they are clean already, and may be 200 MB.
        """
        clean = [*read, *self._clean(events)]
        entries = await self.patiently(lambda: self._store.append(self.job.id, clean, phase=phase, **more))
        if phase is not None:
            self.job = replace(self.job, phase=phase)
        return entries

    async def append_now(self, events: Sequence[Event], **more: Any) -> list[Entry]:
        """Store events that a person waits for; raises StoreUnavailable instead of waiting."""
        return await self._store.append(self.job.id, self._clean(events), **more)

    async def tell(self, level: str, code: str, text: str) -> None:
        """Store a notice."""
        await self.append([Notice(level, code, text)])

    async def transition(
        self, to: JobState, *, events: Sequence[Event] = (), reason: str | None = None, **more: Any
    ) -> None:
        """Bring the job into a state; raises JobEnded when it is in its last one already."""
        clean = self._clean(events)
        why = None if reason is None else self._redactor.clean(reason)
        changed = await self.patiently(
            lambda: self._store.transition(self.job.id, to, events=clean, reason=why, **more)
        )
        if changed is None:
            raise JobEnded(self.job.id)
        self.job = replace(changed, reason=self.job.reason or changed.reason)

    def ask(self, question: Question) -> tuple[Ask, AskRaised]:
        """The question as an ask of the job, and the event that shows it."""
        now = self._clock()
        # What people typed into a prompt may come back in a question: it is cleaned as every event is.
        request = json.dumps(self._redactor.clean_value(json.loads(question.request)))
        ask = Ask(
            id="a" + hashlib.sha256(f"{self.job.id} {question.key}".encode()).hexdigest()[:8],
            job=self.job.id,
            project=self.job.project,
            session=self.job.session,
            kind=question.kind,
            request=request,
            state=AskState.OPEN,
            created=now,
            expires=now + self._ask_seconds,
        )
        shown = AskRaised(ask.id, question.kind, question.title, question.body, question.choices, question.multiple)
        return ask, shown

    def _clean(self, events: Sequence[Event]) -> list[Event]:
        return [self._redactor.clean_event(event) for event in events]

    async def patiently(self, use: Callable[[], Awaitable[T]]) -> T:
        """Use the store, and wait for it where that fails: what the journal holds is not lost by waiting."""
        attempt = 0
        while True:
            try:
                return await use()
            except StoreUnavailable as error:
                log.warning("a job waits for the store: %s", error, extra={"job": self.job.id})
                await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
                attempt += 1
