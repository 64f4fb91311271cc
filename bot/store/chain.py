"""Recording acts inside a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bot.audit import seal
from bot.database import Connection
from bot.model import AuditEntry

Audit = AuditEntry | Sequence[AuditEntry] | None
"""The acts that a change records: one, several or none."""

_HEAD = "SELECT seq, hash FROM audit_head WHERE id = 1"
_INSERT = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def record(connection: Connection, audit: Audit, clock: Callable[[], float]) -> None:
    """Append the entries to the audit log, in order."""
    for entry in _each(audit):
        seq, prev = connection.execute(_HEAD).fetchone()
        row = seal(entry, seq=seq + 1, time=clock(), prev=prev)
        connection.execute(
            _INSERT,
            (
                row.seq,
                row.time,
                row.action,
                row.actor,
                row.project,
                row.session,
                row.job,
                row.prompt,
                row.duration_ms,
                row.exit_code,
                row.outcome,
                row.prev,
                row.hash,
            ),
        )


def _each(audit: Audit) -> Iterable[AuditEntry]:
    if audit is None:
        return ()
    return (audit,) if isinstance(audit, AuditEntry) else audit
