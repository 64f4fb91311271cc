"""The tables, as steps from one version of the file to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bot.errors import StoreUnavailable

_SESSIONS = (
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, claude_id TEXT NOT NULL, actor TEXT NOT NULL,
        created REAL NOT NULL, model TEXT NOT NULL, effort TEXT NOT NULL, mode TEXT NOT NULL,
        claude_started INTEGER NOT NULL, deleted INTEGER NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX sessions_by_name ON sessions (project, name) WHERE deleted = 0",
    "CREATE INDEX sessions_by_project ON sessions (project, deleted, created)",
    "CREATE INDEX sessions_by_age ON sessions (deleted, created)",
    """CREATE TABLE threads (
        surface TEXT NOT NULL, thread TEXT NOT NULL, session TEXT NOT NULL REFERENCES sessions (id),
        PRIMARY KEY (surface, thread)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX threads_by_session ON threads (session)",
)

# The prompt stands apart: a job's row is written again with every read of its journal, and a long prompt with it.
_JOBS = (
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, session TEXT NOT NULL REFERENCES sessions (id), project TEXT NOT NULL, kind TEXT NOT NULL,
        state TEXT NOT NULL, actor TEXT NOT NULL, surface TEXT NOT NULL, thread TEXT NOT NULL, created REAL NOT NULL,
        slot INTEGER NOT NULL, "offset" INTEGER NOT NULL, follow TEXT NOT NULL, phase TEXT NOT NULL,
        seq INTEGER NOT NULL, started REAL NOT NULL, ended REAL NOT NULL, exit_code INTEGER, reason TEXT NOT NULL,
        cost_usd REAL NOT NULL, tokens INTEGER NOT NULL, pruned INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX jobs_by_project ON jobs (project, state, created)",
    "CREATE INDEX jobs_by_session ON jobs (session, state, created)",
    "CREATE INDEX jobs_by_state ON jobs (state, created)",
    "CREATE INDEX jobs_by_cost ON jobs (created, project, cost_usd, tokens)",
    "CREATE INDEX jobs_to_prune ON jobs (ended) WHERE pruned = 0 AND ended > 0",
    "CREATE TABLE prompts (job TEXT PRIMARY KEY REFERENCES jobs (id), text TEXT NOT NULL) STRICT",
    """CREATE TABLE events (
        job TEXT NOT NULL REFERENCES jobs (id), seq INTEGER NOT NULL, time REAL NOT NULL,
        type TEXT NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (job, seq)
    ) STRICT""",
    """CREATE TABLE deliveries (
        job TEXT NOT NULL REFERENCES jobs (id), surface TEXT NOT NULL, thread TEXT NOT NULL,
        seq INTEGER NOT NULL, messages TEXT NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (job, surface, thread)
    ) STRICT""",
    "CREATE INDEX deliveries_by_done ON deliveries (done, job)",
)

_PEOPLE = (
    """CREATE TABLE asks (
        id TEXT PRIMARY KEY, job TEXT REFERENCES jobs (id), project TEXT NOT NULL, session TEXT NOT NULL,
        kind TEXT NOT NULL, request TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
        answer TEXT NOT NULL, actor TEXT NOT NULL, sent INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX asks_open ON asks (project, created) WHERE state = 'open'",
    "CREATE INDEX asks_to_expire ON asks (expires) WHERE state = 'open' AND expires > 0",
    "CREATE INDEX asks_expired ON asks (job) WHERE state = 'expired'",
    "CREATE INDEX asks_to_send ON asks (job, created) WHERE state = 'answered' AND sent = 0",
    """CREATE TABLE grants (
        project TEXT NOT NULL, session TEXT NOT NULL, domain TEXT NOT NULL, actor TEXT NOT NULL,
        created REAL NOT NULL, expires REAL NOT NULL, PRIMARY KEY (project, session, domain)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX grants_to_expire ON grants (expires) WHERE expires > 0",
    "CREATE TABLE seen (id TEXT PRIMARY KEY, time REAL NOT NULL, reply TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX seen_by_age ON seen (time)",
)

# INSERT OR REPLACE fires no DELETE trigger unless the connection asks for it, so the INSERT trigger refuses
# any row that is not the next one. The head makes a row removed from the end show.
_AUDIT = (
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY, time REAL NOT NULL, action TEXT NOT NULL, actor TEXT NOT NULL, project TEXT NOT NULL,
        session TEXT NOT NULL, job TEXT NOT NULL, prompt TEXT NOT NULL, duration_ms INTEGER, exit_code INTEGER,
        outcome TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX audit_by_project ON audit (project)",
    "CREATE INDEX audit_by_actor ON audit (actor)",
    "CREATE TABLE audit_head (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT",
    "INSERT INTO audit_head VALUES (1, 0, '')",
    """CREATE TRIGGER audit_next BEFORE INSERT ON audit
        WHEN NOT EXISTS (SELECT 1 FROM audit_head WHERE id = 1 AND NEW.seq = seq + 1 AND NEW.prev = hash)
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows, one row after the other'); END""",
    """CREATE TRIGGER audit_grown AFTER INSERT ON audit
        BEGIN UPDATE audit_head SET seq = NEW.seq, hash = NEW.hash WHERE id = 1; END""",
    """CREATE TRIGGER audit_kept BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END""",
    """CREATE TRIGGER audit_whole BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is never shortened'); END""",
    """CREATE TRIGGER audit_head_follows BEFORE UPDATE ON audit_head
        WHEN NEW.id != 1 OR NEW.seq != OLD.seq + 1
            OR NEW.hash IS NOT (SELECT hash FROM audit WHERE seq = NEW.seq AND prev = OLD.hash)
        BEGIN SELECT RAISE(ABORT, 'the head of the audit log follows its rows'); END""",
    """CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head
        BEGIN SELECT RAISE(ABORT, 'the head of the audit log stays'); END""",
    """CREATE TRIGGER audit_head_single BEFORE INSERT ON audit_head
        BEGIN SELECT RAISE(ABORT, 'the audit log has one head'); END""",
)

STEPS: tuple[tuple[str, ...], ...] = ((*_SESSIONS, *_JOBS, *_PEOPLE, *_AUDIT),)
"""The statements that lead from each version to the next; a released step is never edited."""


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring the file to the newest version, all of it or nothing.

    Raises StoreUnavailable for a file of a newer version or of another program.
    """
    if _version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        _refuse_foreign(connection, path, version, len(steps))
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:  # raised again; half a step must not stay
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _refuse_foreign(connection: sqlite3.Connection, path: Path, version: int, newest: int) -> None:
    if version > newest:
        raise StoreUnavailable(
            f"{path} was written by a newer rdev (its schema is version {version}, this one knows up to {newest}): "
            "run the newer version, or restore the copy made before the update."
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise StoreUnavailable(f"{path} is another program's database, not rdev's: choose another state directory.")
