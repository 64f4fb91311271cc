"""Audited acts a second through the store, beside SQLite alone with the same rows."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from dataclasses import astuple
from pathlib import Path

from figures import Figure

from bot.audit import AuditRow
from bot.model import AuditEntry
from bot.store import Store

PART = "audit"
CALLERS = 64
_ALONE = 500
_COLUMNS = """seq INTEGER PRIMARY KEY, time REAL, action TEXT, actor TEXT, project TEXT, session TEXT, job TEXT,
    prompt TEXT, duration_ms INTEGER, exit_code INTEGER, outcome TEXT, prev TEXT, hash TEXT"""


async def measure(count: int) -> list[Figure]:
    """Record so many acts from many callers at once, some from one alone, and the same rows bare."""
    with tempfile.TemporaryDirectory(prefix="rdev-bench-") as name:
        directory = Path(name)
        async with Store.open(directory / "rdev.db") as store:
            together = await _rate(store, count, CALLERS)
            alone = await _rate(store, _ALONE, 1)
            rows = (await store.audit(limit=count + _ALONE))[::-1]
            assert len(rows) == count // CALLERS * CALLERS + _ALONE
            assert await store.verify() == []
        bare = await asyncio.to_thread(_bare, directory / "bare.db", rows)
        bare_alone = await asyncio.to_thread(_bare_alone, directory / "alone.db", rows[:_ALONE])
    return [
        Figure(PART, f"acts a second, {CALLERS} callers", together, "/s", 2000, True, bare, "executemany"),
        Figure(PART, "acts a second, one caller", alone, "/s", None, True, bare_alone, "a transaction each"),
    ]


async def _rate(store: Store, count: int, callers: int) -> float:
    async def act(caller: int) -> None:
        for number in range(count // callers):
            prompt = f"run the test {number} of caller {caller} and say what is wrong with it"
            await store.act(
                AuditEntry("shell", f"local:{caller}", "demo", "s0123456789", "j0123456789", prompt, outcome="accepted")
            )

    began = time.perf_counter()
    await asyncio.gather(*map(act, range(callers)))
    return count // callers * callers / (time.perf_counter() - began)


def _bare(path: Path, rows: list[AuditRow]) -> float:
    connection = _table(path)
    values = [astuple(row) for row in rows]
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_insert(), values)
    connection.execute("COMMIT")
    rate = len(values) / (time.perf_counter() - began)
    connection.close()
    return rate


def _bare_alone(path: Path, rows: list[AuditRow]) -> float:
    connection = _table(path)
    values = [astuple(row) for row in rows]
    began = time.perf_counter()
    for value in values:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_insert(), value)
        connection.execute("COMMIT")
    rate = len(values) / (time.perf_counter() - began)
    connection.close()
    return rate


def _table(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        f"CREATE TABLE audit ({_COLUMNS}) STRICT",
    ):
        connection.execute(statement).close()
    return connection


def _insert() -> str:
    marks = ", ".join("?" * len(AuditRow.__slots__))
    return f"INSERT INTO audit VALUES ({marks})"
