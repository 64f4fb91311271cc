"""The audit log only grows, and whoever edits it behind rdev's back is found out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from storing import ACT, Clock, job, session, store_with_job

from bot.audit import AuditRow, seal
from bot.errors import AlreadyAccepted
from bot.model import AuditEntry, JobState, replace
from bot.store import Store

FULL = AuditEntry("git", "discord:1", "pantheon", "s9", "j9", "git push “x”\n🦀", 1234, 128, "refused")
USUAL = " (git by discord:1, 1970-01-01T00:16:40.500000Z)"
Tamper = Callable[[sqlite3.Connection], object]


@asynccontextmanager
async def log_of(path: Path, rows: int) -> AsyncIterator[Store]:
    """A store whose audit log has that many rows."""
    async with Store.open(path / "rdev.db", clock=Clock(1000.5)) as store:
        for number in range(rows):
            await store.act(replace(FULL, prompt=f"prompt {number + 1}"))
        yield store


@contextmanager
def behind_the_back(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of someone who edits the log, with all its triggers out of the way."""
    with closing(sqlite3.connect(path / "rdev.db", isolation_level=None)) as raw:
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        yield raw


async def _verified_after(path: Path, tamper: Tamper, rows: int = 6) -> list[str]:
    """What verification says of a log after that was done to it; the usual row's description is left out."""
    async with log_of(path, rows) as store:
        assert await store.verify() == []
        with behind_the_back(path) as raw:
            tamper(raw)
        return [sentence.replace(USUAL, "") for sentence in await store.verify()]


def _swap(raw: sqlite3.Connection) -> None:
    for before, after in ((3, 99), (4, 3), (99, 4)):
        raw.execute("UPDATE audit SET seq = ? WHERE seq = ?", (after, before))


def _insert(raw: sqlite3.Connection, seq: int, prev: str) -> AuditRow:
    row = seal(ACT, seq=seq, time=1000.5, prev=prev)
    values = [getattr(row, name) for name in AuditRow.__slots__]
    raw.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(values))})", values)
    return row


def _insert_between(raw: sqlite3.Connection) -> None:
    raw.execute("UPDATE audit SET seq = -seq WHERE seq > 3")
    raw.execute("UPDATE audit SET seq = 1 - seq WHERE seq < 0")
    _insert(raw, 4, raw.execute("SELECT hash FROM audit WHERE seq = 3").fetchone()[0])


def _insert_at_end(raw: sqlite3.Connection) -> None:
    _insert(raw, 7, raw.execute("SELECT hash FROM audit WHERE seq = 6").fetchone()[0])


def _remove_and_close_the_gap(raw: sqlite3.Connection) -> None:
    raw.execute("DELETE FROM audit WHERE seq = 3")
    raw.execute("UPDATE audit SET seq = -seq WHERE seq > 3")
    raw.execute("UPDATE audit SET seq = -seq - 1 WHERE seq < 0")


def _rewrite(raw: sqlite3.Connection, seq: int) -> None:
    """Change a row and make its hash match again."""
    prev = raw.execute("SELECT prev FROM audit WHERE seq = ?", (seq,)).fetchone()[0]
    raw.execute("DELETE FROM audit WHERE seq = ?", (seq,))
    _insert(raw, seq, prev)


@pytest.mark.parametrize(
    "column", [name for name in AuditRow.__slots__ if name not in ("seq", "time", "duration_ms", "exit_code")]
)
async def test_changed_text_is_named(tmp_path: Path, column: str) -> None:
    async with log_of(tmp_path, 3) as store:
        with behind_the_back(tmp_path) as raw:
            raw.execute(f"UPDATE audit SET {column} = 'edited' WHERE seq = 2")

        sentences = await store.verify()
        assert len(sentences) == 1
        assert sentences[0].startswith("Row 2 (")
        assert sentences[0].endswith("was changed: its contents do not match its hash.")


@pytest.mark.parametrize("column", ["time", "duration_ms", "exit_code"])
async def test_changed_number_is_named(tmp_path: Path, column: str) -> None:
    found = await _verified_after(tmp_path, _run(f"UPDATE audit SET {column} = {column} + 1 WHERE seq = 2"))

    assert len(found) == 1
    assert found[0].startswith("Row 2")
    assert found[0].endswith("was changed: its contents do not match its hash.")


def _run(statement: str) -> Tamper:
    return lambda raw: raw.execute(statement)


def _unlinked(seq: int) -> str:
    return f"Row {seq} does not follow row {seq - 1}: a row was moved, inserted, removed or rewritten here."


HEAD = "Row 6 is not the one that the head of the log names: one of the two was changed."
NO_HEAD = "The head of the audit log was removed, so that rows may be missing at its end."
BEYOND = "Row 7 was inserted: the head of the log stands at row 6."
BEFORE = "Row 0 (shell by local:1000, 1970-01-01T00:16:40.500000Z) was inserted: the log starts at row 1."

EDITS: dict[str, tuple[Tamper, list[str]]] = {
    "removed": (_run("DELETE FROM audit WHERE seq = 3"), ["Row 3 was removed."]),
    "first removed": (_run("DELETE FROM audit WHERE seq IN (1, 2)"), ["Rows 1 to 2 were removed."]),
    "last removed": (_run("DELETE FROM audit WHERE seq >= 5"), ["Rows 5 to 6 were removed."]),
    "all removed": (_run("DELETE FROM audit"), ["Rows 1 to 6 were removed."]),
    "removed and renumbered": (_remove_and_close_the_gap, [_unlinked(3), "Row 6 was removed."]),
    "swapped": (_swap, [_unlinked(3), _unlinked(4), _unlinked(5)]),
    "inserted": (_insert_between, [_unlinked(5), BEYOND]),
    "appended": (_insert_at_end, [BEYOND]),
    "put before": (lambda raw: _insert(raw, 0, ""), [BEFORE]),
    "rewritten": (lambda raw: _rewrite(raw, 3), [_unlinked(4)]),
    "last rewritten": (lambda raw: _rewrite(raw, 6), [HEAD]),
    "head changed": (_run("UPDATE audit_head SET hash = 'x'"), [HEAD]),
    "head removed": (_run("DELETE FROM audit_head"), [NO_HEAD]),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_edited_log_is_found_out(tmp_path: Path, edit: str) -> None:
    tamper, expected = EDITS[edit]

    assert await _verified_after(tmp_path, tamper) == expected


async def test_edit_on_a_later_page_is_found_and_named(tmp_path: Path) -> None:
    def tamper(raw: sqlite3.Connection) -> None:
        raw.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1000")
        raw.execute("DELETE FROM audit WHERE seq = 2001")

    found = await _verified_after(tmp_path, tamper, rows=2500)
    assert found == [
        "Row 1000 (git by nobody, 1970-01-01T00:16:40.500000Z) was changed: its contents do not match its hash.",
        "Row 2001 was removed.",
    ]


async def test_what_verification_says_is_bounded(tmp_path: Path) -> None:
    found = await _verified_after(tmp_path, lambda raw: raw.execute("UPDATE audit SET prompt = 'x'"), rows=1500)

    assert len(found) == 1000


async def test_log_that_grows_meanwhile_verifies(tmp_path: Path) -> None:
    async with log_of(tmp_path, 1500) as store:
        async with asyncio.TaskGroup() as group:
            verified = [group.create_task(store.verify()) for _ in range(5)]
            for _ in range(300):
                group.create_task(store.act(FULL))

        assert [task.result() for task in verified] == [[]] * 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET prompt = 'x' WHERE seq = 2",
        "UPDATE OR REPLACE audit SET seq = 1 WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "REPLACE INTO audit SELECT seq, 0, '', '', '', '', '', '', 0, 0, '', prev, hash FROM audit WHERE seq = 3",
        "REPLACE INTO audit SELECT seq + 1, 0, '', '', '', '', '', '', 0, 0, '', prev, hash FROM audit WHERE seq = 3",
        "INSERT INTO audit SELECT seq + 9, 0, '', '', '', '', '', '', 0, 0, '', hash, hash FROM audit WHERE seq = 3",
        "UPDATE audit_head SET seq = 2",
        "UPDATE audit_head SET hash = 'x'",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES (2, 0, '')",
        "REPLACE INTO audit_head VALUES (1, 0, '')",
    ],
)
async def test_database_itself_refuses_to_rewrite_the_log(tmp_path: Path, statement: str) -> None:
    async with log_of(tmp_path, 3) as store:
        with (
            closing(sqlite3.connect(tmp_path / "rdev.db", isolation_level=None)) as raw,
            pytest.raises(sqlite3.IntegrityError, match="the audit log"),
        ):
            raw.execute(statement)

        assert await store.verify() == []
        assert len(await store.audit()) == 3


async def test_act_and_its_entry_are_one(tmp_path: Path) -> None:
    """What fails leaves no entry, and what the store did has exactly one."""
    async with store_with_job(tmp_path) as store:
        await store.accept("m1")
        with pytest.raises(AlreadyAccepted):
            await store.add_job(job("j2"), [], ACT, seen_id="m1")
        with pytest.raises(sqlite3.IntegrityError):
            await store.add_session(session("s1", name="other"), ACT)
        await store.transition("j1", JobState.FAILED, audit=[ACT, FULL])

        assert [row.action for row in await store.audit()] == ["git", "shell", "shell", "shell"]


async def test_acts_are_listed_newest_first_by_project_and_actor(tmp_path: Path) -> None:
    async with log_of(tmp_path, 2) as store:
        await store.act(replace(FULL, project="other"))
        await store.act(replace(FULL, actor="key:ci"))

        assert [row.seq for row in await store.audit()] == [4, 3, 2, 1]
        assert [row.seq for row in await store.audit(limit=2)] == [4, 3]
        assert [row.seq for row in await store.audit(project="pantheon")] == [4, 2, 1]
        assert [row.seq for row in await store.audit(actor="discord:1")] == [3, 2, 1]
        assert [row.seq for row in await store.audit(actor="discord:1", project="other")] == [3]
        first = (await store.audit())[-1]
        assert (first.time, first.prompt, first.duration_ms, first.exit_code) == (1000.5, "prompt 1", 1234, 128)


async def test_export_has_the_promised_fields_in_order(tmp_path: Path) -> None:
    async with log_of(tmp_path, 1) as store:
        await store.act(ACT)
        lines = [line async for line in store.export()]
        of_project = [line async for line in store.export(project="pantheon")]

    rows = [json.loads(line) for line in lines]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert of_project == lines[:1]
    assert list(rows[0])[:7] == ["timestamp", "project", "action", "prompt", "user", "duration_ms", "exit_code"]
    assert rows[0] == {
        "timestamp": "1970-01-01T00:16:40.500000Z",
        "project": "pantheon",
        "action": "git",
        "prompt": "prompt 1",
        "user": "discord:1",
        "duration_ms": 1234,
        "exit_code": 128,
        "session": "s9",
        "job": "j9",
        "outcome": "refused",
        "seq": 1,
        "prev": "",
        "hash": rows[0]["hash"],
    }
    assert (rows[1]["duration_ms"], rows[1]["exit_code"]) == (None, None)
    assert datetime.fromisoformat(rows[1]["timestamp"]).astimezone(UTC).timestamp() == 1000.5


async def test_exported_file_can_be_verified_by_anyone(tmp_path: Path) -> None:
    """With nothing but a JSON reader and SHA-256."""
    async with log_of(tmp_path, 1200) as store:
        lines = [json.loads(line) async for line in store.export()]

    prev = ""
    for number, line in enumerate(lines, 1):
        record: dict[str, Any] = {key: value for key, value in line.items() if key not in ("seq", "hash")}
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        assert (line["seq"], line["prev"]) == (number, prev)
        assert line["hash"] == hashlib.sha256(text.encode()).hexdigest()
        prev = line["hash"]
    assert len(lines) == 1200
