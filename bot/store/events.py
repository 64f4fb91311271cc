"""A job's events: the append-only log that every surface shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from bot.database import Connection
from bot.errors import AlreadyAccepted, JobEnded, Stale
from bot.model import Ask, AskState, Entry
from bot.store import asks as ask_rows
from bot.store import sessions as session_rows
from bot.store.chain import Audit, record
from bot.store.core import Core
from bot.store.numbering import draft, insert, standing
from bot.store.seen import take
from executor.events import Event, Notice, decode

_ADVANCE = """UPDATE jobs SET seq = ?, "offset" = coalesce(?, "offset"), follow = coalesce(?, follow),
    phase = coalesce(?, phase) WHERE id = ?"""
_SPEND = "UPDATE jobs SET cost_usd = cost_usd + ?, tokens = tokens + ? WHERE id = ?"
_ENTRIES = "SELECT seq, time, type, payload FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?"


class Events(Core):
    """What happened in jobs."""

    async def append(
        self,
        job_id: str,
        events: Sequence[Event],
        *,
        expect_offset: int | None = None,
        offset: int | None = None,
        follow: str | None = None,
        phase: str | None = None,
        asks: Sequence[Ask] = (),
        close_asks: Sequence[tuple[str, AskState]] = (),
        cost_usd: float = 0.0,
        tokens: int = 0,
        session_changes: Mapping[str, str | bool] | None = None,
        seen_id: str | None = None,
        audit: Audit = (),
    ) -> list[Entry]:
        """Number and store what a job did together with how far its journal was read, all or nothing.

        `cost_usd` and `tokens` are added to the job's. Asks that are no longer open stay as they are. Raises
        KeyError for an unknown job, JobEnded for a terminal one, and Stale when the stored offset is not
        `expect_offset`: two readers of one journal can never double an event; AlreadyAccepted when `seen_id`
        was accepted before.
        """
        drafts = draft(events)

        def advance(connection: Connection) -> list[Entry]:
            stand = standing(connection, job_id)
            if stand.state.terminal:
                raise JobEnded(job_id)
            if expect_offset is not None and stand.offset != expect_offset:
                raise Stale(job_id)
            if seen_id and not take(connection, seen_id, self._clock()):
                raise AlreadyAccepted(seen_id)
            entries = insert(connection, job_id, stand.seq, drafts, self._clock())
            seq = stand.seq + len(entries)
            connection.execute(_ADVANCE, (seq, offset, follow, phase, job_id))
            if cost_usd or tokens:  # its own statement, since an index holds these
                connection.execute(_SPEND, (cost_usd, tokens, job_id))
            for ask in asks:
                ask_rows.insert(connection, ask)
            for ask_id, state in close_asks:
                ask_rows.close(connection, ask_id, state)
            if session_changes:
                session_rows.change(connection, stand.session, session_changes)
            record(connection, audit, self._clock)
            return entries

        return await self.write(advance)

    async def entries(self, job_id: str, after: int, *, limit: int = 500, max_bytes: int = 4_000_000) -> list[Entry]:
        """The job's events with higher numbers than `after`, in order.

        At most `limit`, and no more once `max_bytes` of them are reached.
        """

        def find(connection: Connection) -> list[Entry]:
            found: list[Entry] = []
            size = 0
            with closing(connection.execute(_ENTRIES, (job_id, after, limit))) as rows:
                for seq, time, kind, payload in rows:
                    found.append(Entry(job_id, seq, time, _decoded(kind, payload)))
                    size += len(payload)
                    if size >= max_bytes:
                        break
            return found

        return await self.read(find)


def _decoded(kind: str, payload: str) -> Event:
    try:
        return decode(kind, payload)
    except (KeyError, TypeError, ValueError):
        # Written by another version. It keeps its number, so that whoever counts sees no gap.
        return Notice("info", "unknown", f"An event of a kind that this version does not know: {kind}.")
