"""Numbering a job's events inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.database import Connection
from bot.model import Entry, JobState
from executor.events import Event, encode

_STAND = 'SELECT state, seq, "offset", session FROM jobs WHERE id = ?'
_INSERT = "INSERT INTO events (job, seq, time, type, payload) VALUES (?, ?, ?, ?, ?)"
_SEQ = "UPDATE jobs SET seq = ? WHERE id = ?"


Draft = tuple[Event, str]
"""An event and its payload, made before the transaction."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a job is in a transaction."""

    state: JobState
    seq: int
    offset: int
    session: str


def standing(connection: Connection, job_id: str) -> Stand:
    """The job's state, last event number, offset and session; raises KeyError for an unknown job."""
    row = connection.execute(_STAND, (job_id,)).fetchone()
    if row is None:
        raise KeyError(job_id)
    return Stand(JobState(row[0]), row[1], row[2], row[3])


def draft(events: Sequence[Event]) -> list[Draft]:
    """The events with the text that is stored of each."""
    return [(event, encode(event)) for event in events]


def insert(
    connection: Connection,
    job_id: str,
    seq: int,
    drafts: Sequence[Draft],
    now: float,
) -> list[Entry]:
    """Store the events numbered from `seq` + 1; the caller stores the job's new `seq`."""
    entries = [Entry(job_id, number, now, event) for number, (event, _) in enumerate(drafts, seq + 1)]
    for number, (event, payload) in enumerate(drafts, seq + 1):
        connection.execute(_INSERT, (job_id, number, now, event.type, payload))
    if drafts:
        connection.numbered[job_id] = seq + len(drafts)
    return entries


def follow_on(connection: Connection, job_id: str, events: Sequence[Event], now: float) -> None:
    """Append events to a job that may have ended meanwhile: then it takes no more, and they are dropped."""
    stand = standing(connection, job_id)
    if stand.state.terminal or not events:
        return
    insert(connection, job_id, stand.seq, draft(events), now)
    connection.execute(_SEQ, (stand.seq + len(events), job_id))
