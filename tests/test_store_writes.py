"""Callers share transactions without noticing each other, and whoever waits for an event is woken."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from pathlib import Path

import pytest
from storing import ACT, job, store_with_job

from bot.database import Connection
from bot.model import JobState
from bot.store import Store
from executor.events import Text


async def _watch(store: Store) -> list[str]:
    """The statements that the writing connection runs from now on."""
    statements: list[str] = []
    await store.write(lambda connection: connection.set_trace_callback(statements.append))
    statements.clear()
    return statements


async def test_writers_at_the_same_time_share_a_transaction(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        statements = await _watch(store)
        await asyncio.gather(*(store.act(ACT) for _ in range(300)))

        assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
        assert len(await store.audit(limit=1000)) == 302


async def test_transaction_is_bounded(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        statements = await _watch(store)
        await asyncio.gather(*(store.act(ACT) for _ in range(1200)))

        assert statements.count("COMMIT") == 3


async def test_lone_write_is_committed_at_once(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        start = time.perf_counter()
        for _ in range(50):
            await store.act(ACT)

        assert time.perf_counter() - start < 0.5


async def test_mistake_of_one_caller_reaches_and_undoes_only_its_own(tmp_path: Path) -> None:
    def break_after_writing(connection: Connection) -> None:
        connection.execute("UPDATE jobs SET reason = 'broken'")
        connection.execute("INSERT INTO seen (id, time, reply) VALUES ('broken', 0, '')")
        raise ValueError("mine")

    def break_a_rule(connection: Connection) -> None:
        connection.execute("UPDATE jobs SET reason = 'broken'")
        connection.execute("INSERT INTO jobs (id) VALUES ('j1')")

    async with store_with_job(tmp_path) as store:
        statements = await _watch(store)
        writes = [store.append("j1", [Text("a")]), store.write(break_after_writing), store.write(break_a_rule)]
        results = await asyncio.gather(*writes, store.append("j1", [Text("b")]), return_exceptions=True)

        assert [type(each) for each in results] == [list, ValueError, sqlite3.IntegrityError, list]
        assert statements.count("COMMIT") == 1
        assert [entry.event for entry in await store.entries("j1", 0)] == [Text("a"), Text("b")]
        assert await store.job("j1") == job(seq=2)
        assert await store.seen("broken") is None


async def test_mistake_of_a_lone_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    def break_after_writing(connection: Connection) -> None:
        connection.execute("UPDATE jobs SET reason = 'broken'")
        raise ValueError("mine")

    async with store_with_job(tmp_path) as store:
        with pytest.raises(ValueError, match="mine"):
            await store.write(break_after_writing)
        assert await store.job("j1") == job()
        await store.append("j1", [Text("a")])


async def test_caller_that_gave_up_while_it_waited_writes_nothing(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        writes = [asyncio.create_task(store.append("j1", [Text(str(n))])) for n in range(5)]
        await asyncio.sleep(0)
        writes[2].cancel()
        await asyncio.wait(writes)

        assert [entry.event for entry in await store.entries("j1", 0)] == [Text(n) for n in "0134"]


async def test_what_is_queued_when_the_store_closes_is_written(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        writes = [asyncio.create_task(store.append("j1", [Text("a")])) for _ in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*writes)
    async with store_with_job(tmp_path) as store:
        assert await store.job("j1") == job(seq=600)


async def test_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        slow = asyncio.create_task(store.write(lambda _: time.sleep(0.5)))
        await asyncio.sleep(0.05)
        assert await store.job("j1") == job()
        assert not slow.done()
        await slow


# waiting


async def test_waiting_returns_at_once_when_there_is_more_already(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [Text("a")])
        await asyncio.wait_for(store.wait_beyond("j1", 0), 1)
    async with store_with_job(tmp_path) as store:
        await asyncio.wait_for(store.wait_beyond("j1", 0), 1)


@pytest.mark.parametrize("how", ["append", "transition"])
async def test_waiting_ends_with_the_next_event_and_not_before(tmp_path: Path, how: str) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_job(job("j2"), [], ACT)
        await store.append("j1", [Text("a")])
        waiting = asyncio.create_task(store.wait_beyond("j1", 1))
        await store.append("j2", [Text("of another job"), Text("twice")])
        await store.append("j1", [], offset=5)
        with pytest.raises(ValueError, match="mine"):
            await store.write(_number_and_fail)
        await asyncio.sleep(0.02)
        assert not waiting.done()

        if how == "append":
            await store.append("j1", [Text("b")])
        else:
            await store.transition("j1", JobState.SUCCEEDED, events=[Text("b")])
        await asyncio.wait_for(waiting, 1)


def _number_and_fail(connection: Connection) -> None:
    connection.numbered["j1"] = 99
    raise ValueError("mine")


async def test_waiting_costs_no_statements(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        statements: list[str] = []
        await store.read(lambda connection: connection.set_trace_callback(statements.append))
        waiting = asyncio.create_task(store.wait_beyond("j1", 0))
        await asyncio.sleep(0.3)

        assert len(statements) <= 1
        waiting.cancel()


async def test_no_wakeup_is_missed(tmp_path: Path) -> None:
    """Many followers of many writers, at their own pace, each see every event once and in order."""

    async def write(store: Store, job_id: str) -> None:
        dice = random.Random(job_id)
        for number in range(60):
            await store.append(job_id, [Text(str(number))])
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() / 500)

    async def follow(store: Store, job_id: str) -> list[int]:
        seen: list[int] = []
        while len(seen) < 60:
            await store.wait_beyond(job_id, len(seen))
            entries = await store.entries(job_id, len(seen), limit=7)
            assert entries, "woken for nothing"
            seen.extend(entry.seq for entry in entries)
        return seen

    async with store_with_job(tmp_path) as store:
        names = [f"k{number}" for number in range(12)]
        await asyncio.gather(*(store.add_job(job(name), [], ACT) for name in names))
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            followers = [group.create_task(follow(store, name)) for name in names * 3]
            for name in names:
                group.create_task(write(store, name))

        assert all(each.result() == list(range(1, 61)) for each in followers)


async def test_write_ahead_log_stays_small_under_a_following_reader(tmp_path: Path) -> None:
    """200 MB would show it as well; 40 MB is ten times what is written between two checkpoints."""
    log, sizes = tmp_path / "rdev.db-wal", []
    async with store_with_job(tmp_path) as store:
        for number in range(1, 641):
            await store.append("j1", [Text("x" * 65536)])
            assert len(await store.entries("j1", number - 1)) == 1
            sizes.append(log.stat().st_size)

    assert max(sizes) < 16_000_000
