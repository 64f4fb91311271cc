"""The file: who may read it, which versions are taken, and that nothing is searched for row by row."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from storing import ACT, ask, job, session, store_with_job

from bot.errors import StoreUnavailable
from bot.model import AskState, Delivery, Grant, JobState
from bot.schema import STEPS, migrate
from bot.store import Store
from executor.events import Text


async def _do_everything(store: Store) -> None:
    await store.add_session(session("s2"), ACT)
    await store.add_job(job("j2"), [Text("x")], ACT, seen_id="m1")
    await store.append(
        "j1", [Text("x")], offset=1, cost_usd=1, asks=[ask()], close_asks=[("a", AskState.WITHDRAWN)],
        session_changes={"model": "m"}, audit=ACT,
    )  # fmt: skip
    await store.answer_ask("a1", "1", "a", audit=ACT)
    await store.add_ask(ask("a2", expires=5.0))
    await store.expire_asks(9.0)
    await store.expire_grants(9.0)
    await store.grant(Grant("p", "s1", "one.example.org", "a", 1.0, 0.0), ACT)
    await store.deliver("j2", "console", "t1", 1)
    await store.add_delivery(Delivery("j2", "console", "t9"))
    await store.mark_sent("a1")
    await store.edit_queued("j2", "x", ACT)
    await store.take_slot("j2", "p")
    await store.transition("j2", JobState.FAILED, events=[Text("y")], audit=ACT)
    await store.update_session("s2", deleted=True, audit=ACT)
    await store.forget_claude("p", ACT)
    await store.prune(5000.0)
    await store.remember("m1", "x")
    await store.forget_seen(1.0)
    await _ask_everything(store)


async def _ask_everything(store: Store) -> None:
    for project in (None, "p"):
        await store.sessions(project)
        await store.sessions(project, include_deleted=True)
        await store.jobs(project=project)
        await store.jobs(project=project, states=[JobState.FAILED])
        await store.open_asks(project)
        await store.costs(project=project)
        await store.audit(project=project)
        assert [line async for line in store.export(project=project)]
    await store.jobs(session="s1")
    await store.session_named("p", "x")
    await store.session_of("console", "t1")
    await store.threads_of("s1")
    await store.active_jobs()
    await store.waiting_in_vain()
    await store.entries("j1", 0)
    await store.wait_beyond("j1", 0)
    for done in (False, True):
        await store.deliveries(done)
        await store.deliveries(done, job="j1")
    await store.ask("a1")
    await store.unsent_answers("j1")
    await store.grants("p")
    await store.grants("p", "s1")
    await store.session_cost("s1")
    await store.audit(actor="local:1000")
    await store.audit(actor="local:1000", project="p")
    await store.verify()
    await store.seen("m1")


async def test_every_statement_is_a_search_by_index(tmp_path: Path) -> None:
    ran: list[str] = []
    async with store_with_job(tmp_path) as store:
        await store.write(lambda connection: connection.set_trace_callback(ran.append))
        await store.read(lambda connection: connection.set_trace_callback(ran.append))
        await _do_everything(store)
    statements = {each for each in ran if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)", each)}
    assert len(statements) > 60

    scans = []
    with closing(sqlite3.connect(tmp_path / "rdev.db")) as connection:
        for statement in statements:
            for *_, detail in connection.execute("EXPLAIN QUERY PLAN " + statement):
                # An index that holds open asks alone, and the audit log from one of its ends, are read as they stand.
                fine = "asks_open" in detail or (detail == "SCAN audit" and "ORDER BY seq DESC LIMIT" in statement)
                if detail.startswith("SCAN") and "CONSTANT" not in detail and not fine:
                    scans.append((detail, statement))
    assert scans == []


async def test_file_is_private(tmp_path: Path) -> None:
    async with store_with_job(tmp_path):
        files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}

    assert files == {"rdev.db": 0o600, "rdev.db-wal": 0o600, "rdev.db-shm": 0o600}


async def test_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with store_with_job(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "rdev.db")) as connection:
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = (tmp_path / "rdev.db").read_bytes()

    with pytest.raises(StoreUnavailable, match=r"rdev\.db was written by a newer rdev"):
        async with store_with_job(tmp_path):
            pass
    assert (tmp_path / "rdev.db").read_bytes() == before


async def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rdev.db")) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")

    with pytest.raises(StoreUnavailable, match="another program's database"):
        async with store_with_job(tmp_path):
            pass


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rdev.db").write_text("dear diary, " * 500)

    with pytest.raises(StoreUnavailable, match="not a database"):
        async with store_with_job(tmp_path):
            pass


async def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere/rdev\.db cannot be opened: No such file or directory"):
        async with store_with_job(tmp_path / "nowhere"):
            pass


def test_store_that_did_not_open_leaves_no_thread_behind(tmp_path: Path) -> None:
    async def fail_to_open() -> None:
        with pytest.raises(StoreUnavailable):
            async with store_with_job(tmp_path / "nowhere"):
                pass

    before = threading.active_count()
    for _ in range(20):
        asyncio.run(fail_to_open())
        assert threading.active_count() == before


def test_file_of_an_older_version_is_brought_forward_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    first = ("CREATE TABLE notes (id INTEGER PRIMARY KEY)", "INSERT INTO notes VALUES (7)")
    second = ("ALTER TABLE notes ADD COLUMN text TEXT NOT NULL DEFAULT 'none'",)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, [first])
        migrate(connection, path, [first, second])
        migrate(connection, path, [first, second])

        assert connection.execute("SELECT * FROM notes").fetchall() == [(7, "none")]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    first = ("CREATE TABLE notes (id INTEGER PRIMARY KEY)",)
    broken = ("ALTER TABLE notes ADD COLUMN text TEXT", "ALTER TABLE missing ADD COLUMN text TEXT")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, [first])
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, path, [first, broken])

        assert connection.execute("SELECT * FROM pragma_table_info('notes')").fetchall() == [
            (0, "id", "INTEGER", 0, None, 1)
        ]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
