"""What people say to a running Claude: every message once, and the end of its input after the last one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict

from bot import turn
from bot.errors import JobEnded, UserError
from bot.journal import ClaudeReader
from bot.model import Ask, AskKind, AuditEntry
from bot.record import Record
from bot.site import Site
from bot.store import Store
from executor import claude
from executor.errors import ExecutorError, InputClosed, JobUnknown
from executor.events import FollowUp

log = logging.getLogger(__name__)

CLAUDES = (AskKind.PERMISSION, AskKind.QUESTION, AskKind.PLAN)
"""What Claude itself asks, and waits for."""


class Talk:
    """The input of one job's Claude."""

    def __init__(self, record: Record, site: Site, store: Store) -> None:
        self._record = record
        self._site = site
        self._store = store
        self._lock = asyncio.Lock()  # between a message, an answer and the end of input: one of them is first
        self._open = False
        self._sent: set[str] = set()

    async def begin(self) -> None:
        """Send the prompt, and after a restart every message again: the CLI runs a message's id once."""
        await self._say(0, self._record.job.text)
        seq = 0
        while entries := await self._store.entries(self._record.job.id, seq):
            for entry in entries:
                if isinstance(entry.event, FollowUp):
                    await self._say(entry.seq, entry.event.text)
            seq = entries[-1].seq
        self._open = True
        await self.send_answers()

    async def follow_up(self, actor: str, text: str, audit: AuditEntry, *, seen_id: str) -> bool:
        """Hand Claude a further message; False when it takes none, or none any more."""
        async with self._lock:
            if not self._open:
                return False
            try:
                (entry,) = await self._record.append_now([FollowUp(actor, text)], audit=[audit], seen_id=seen_id)
            except JobEnded:
                return False
            try:
                await self._say(entry.seq, text)
            except ExecutorError as error:
                self._sent.discard(turn.message_id(self._record.job.id, entry.seq))  # else its end is waited for
                raise UserError(f"This did not reach Claude: {error}") from error
            return True

    async def send_answers(self) -> None:
        """Hand Claude what people answered, each request once all its questions have an answer."""
        async with self._lock:
            requests: dict[str, list[Ask]] = defaultdict(list)
            for ask in await self._store.unsent_answers(self._record.job.id):
                if ask.kind in CLAUDES:
                    requests[json.loads(ask.request)["request_id"]].append(ask)
            mode = claude.Options(session_id="", permissions=self._site.project.permissions).mode
            for asks in requests.values():
                line = claude.answer_line([(ask.request, ask.answer) for ask in asks], mode=mode)
                if line is not None:
                    await self._send(line)
                    for ask in asks:
                        await self._store.mark_sent(ask.id)

    async def end_when_idle(self, reader: ClaudeReader) -> None:
        """End Claude's input when the turn is over and no message of ours still waits in it."""
        async with self._lock:
            if self._open and reader.idle(self._sent):
                self._open = False
                await self._site.boxrun.eof(self._record.job.id)

    def close(self) -> None:
        """Take no message any more: Claude has ended."""
        self._open = False

    async def _say(self, number: int, text: str) -> None:
        identity = turn.message_id(self._record.job.id, number)
        self._sent.add(identity)
        await self._send(claude.user(text, identity))

    async def _send(self, line: bytes) -> None:
        try:
            await self._site.boxrun.send(self._record.job.id, line)
        except (InputClosed, JobUnknown):
            # The end of the journal says how it ended; there is nobody left to tell.
            log.info("a message came after the end", extra={"job": self._record.job.id})
