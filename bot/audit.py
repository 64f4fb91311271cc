"""The audit log's rows: how they are sealed, exported and verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from bot.database import clean
from bot.model import AuditEntry


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act as it stands in the log, chained to the one before it."""

    seq: int
    time: float
    action: str
    actor: str
    project: str
    session: str
    job: str
    prompt: str
    duration_ms: int | None
    exit_code: int | None
    outcome: str
    prev: str
    """The hash of the row before; empty for the first."""
    hash: str


def seal(entry: AuditEntry, *, seq: int, time: float, prev: str) -> AuditRow:
    """The row that records the entry after the row whose hash is `prev`."""
    row = AuditRow(
        seq=seq,
        time=float(time),
        action=clean(str(entry.action)),
        actor=clean(entry.actor),
        project=clean(entry.project),
        session=clean(entry.session),
        job=clean(entry.job),
        prompt=clean(entry.prompt),
        duration_ms=None if entry.duration_ms is None else int(entry.duration_ms),
        exit_code=None if entry.exit_code is None else int(entry.exit_code),
        outcome=clean(str(entry.outcome)),
        prev=prev,
        hash="",
    )
    return replace(row, hash=digest(row))


def exported(row: AuditRow) -> dict[str, Any]:
    """The row's fields as `rdev audit export` writes them."""
    return {
        "timestamp": datetime.fromtimestamp(row.time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "project": row.project,
        "action": row.action,
        "prompt": row.prompt,
        "user": row.actor,
        "duration_ms": row.duration_ms,
        "exit_code": row.exit_code,
        "session": row.session,
        "job": row.job,
        "outcome": row.outcome,
        "seq": row.seq,
        "prev": row.prev,
        "hash": row.hash,
    }


def digest(row: AuditRow) -> str:
    """SHA-256 over the exported fields without `seq` and `hash`, as JSON with sorted keys and no spaces.

    An exported file can thus be verified on its own. A row's place is held by `prev`, not by its number,
    so that a moved row can be told from a changed one.
    """
    record = exported(row)
    del record["seq"], record["hash"]
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(slots=True)
class Verification:
    """Checks rows in the order of their numbers, remembering only the last."""

    _seq: int = 0
    _hashes: tuple[str, ...] = field(default=("",))

    def row(self, row: AuditRow) -> Iterator[str]:
        """Sentences on what is wrong with the row or missing before it."""
        expected, own = self._seq + 1, digest(row)
        if row.seq > expected:
            yield _removed(expected, row.seq - 1)
        elif row.seq < expected:
            yield f"{_name(row)} was inserted: the log starts at row 1."
        if own != row.hash:
            yield f"{_name(row)} was changed: its contents do not match its hash."
        elif row.seq == expected and row.prev not in self._hashes:
            before = f"row {row.seq - 1}" if row.seq > 1 else "the beginning"
            yield f"{_name(row)} does not follow {before}: a row was moved, inserted, removed or rewritten here."
        if row.seq >= expected:
            # A changed row is named once: the next may follow what it says its hash is, or what it should be.
            self._seq, self._hashes = row.seq, (row.hash, own)

    def end(self, head: tuple[int, str] | None) -> Iterator[str]:
        """Sentences on how the last row and the head, its number and hash, disagree."""
        if head is None:
            yield "The head of the audit log was removed, so that rows may be missing at its end."
        elif head[0] > self._seq:
            yield _removed(self._seq + 1, head[0])
        elif head[0] < self._seq:
            yield f"{_rows(head[0] + 1, self._seq)} inserted: the head of the log stands at row {head[0]}."
        elif head[1] not in self._hashes:
            yield f"Row {self._seq} is not the one that the head of the log names: one of the two was changed."


def _removed(first: int, last: int) -> str:
    return f"{_rows(first, last)} removed."


def _rows(first: int, last: int) -> str:
    return f"Row {first} was" if first == last else f"Rows {first} to {last} were"


def _name(row: AuditRow) -> str:
    return f"Row {row.seq} ({row.action} by {row.actor}, {exported(row)['timestamp']})"
