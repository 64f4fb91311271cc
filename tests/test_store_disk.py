"""A full disk, a locked file and a kill: what was accepted is there, what was refused is not, and work goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import writing
from storing import ACT, job, store_with_job

from bot.errors import StoreUnavailable
from bot.model import AskState, Job, JobState
from bot.store import Store
from executor.events import Output, Text


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", path], check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root; the limit on pages is tried without")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


async def _fill(store: Store) -> tuple[list[int], list[StoreUnavailable]]:
    """Write from many tasks until each was refused; the sizes of what was accepted, and the refusals."""
    accepted: list[int] = []
    refused: list[StoreUnavailable] = []

    async def write(number: int) -> None:
        for size in range(1000 + number, 10_000_000, 997):
            try:
                await store.append("j1", [Output("x" * size)], audit=ACT, cost_usd=1.0)
            except StoreUnavailable as error:
                refused.append(error)
                return
            accepted.append(size)

    await asyncio.gather(*(write(number) for number in range(20)))
    return accepted, refused


async def _check(store: Store, accepted: list[int]) -> None:
    """Exactly the accepted is there, whole."""
    stored: list[int] = []
    while entries := await store.entries("j1", len(stored)):
        for entry in entries:
            assert isinstance(entry.event, Output)
            assert entry.seq == len(stored) + 1
            stored.append(len(entry.event.text))
    assert sorted(stored) == sorted(accepted)
    assert len(await store.audit(limit=100_000)) == 2 + len(accepted)
    assert await store.job("j1") == job(seq=len(accepted), cost_usd=float(len(accepted)))
    assert await store.verify() == []


async def test_full_disk_refuses_with_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        ballast = tmp_path / "ballast"
        ballast.write_bytes(b"x" * 1_000_000)
        async with store_with_job(tmp_path) as store:
            accepted, refused = await _fill(store)
            assert accepted
            assert all(str(each).startswith("Nothing of this was accepted, since ") for each in refused)
            assert "rdev.db cannot be used: the disk that holds it is full; free some space" in str(refused[0])
            await _check(store, accepted)

            ballast.unlink()
            await store.append("j1", [Output("again")], audit=ACT, cost_usd=1.0)
            await _check(store, [*accepted, 5])
        async with store_with_job(tmp_path) as store:
            await _check(store, [*accepted, 5])


def _fill_up(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(b"x" * 4096):
            pass


async def test_store_is_read_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        async with store_with_job(tmp_path) as store:
            await store.append("j1", [Text("a")])
            _fill_up(tmp_path)
            assert len(await store.entries("j1", 0)) == 1
        async with store_with_job(tmp_path) as store:
            assert len(await store.entries("j1", 0)) == 1
            assert await store.verify() == []


async def test_store_that_cannot_be_opened_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        async with store_with_job(tmp_path) as store:
            await store.append("j1", [Text("a")])
        _fill_up(tmp_path)
        with pytest.raises(StoreUnavailable, match="the disk that holds it is full"):
            async with store_with_job(tmp_path):
                pass
        (tmp_path / "ballast").unlink()
        async with store_with_job(tmp_path) as store:
            assert len(await store.entries("j1", 0)) == 1


async def test_file_that_may_not_grow_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """The same without root: SQLite reports its own limit on pages as a full disk."""
    async with store_with_job(tmp_path) as store:
        await store.write(lambda connection: connection.execute("PRAGMA max_page_count = 300").close())
        accepted, refused = await _fill(store)
        assert accepted
        assert "is full" in str(refused[0])
        await _check(store, accepted)

        await store.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").close())
        await store.append("j1", [Output("again")], audit=ACT, cost_usd=1.0)
        await _check(store, [*accepted, 5])


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the file's write lock."""
    argv = [sys.executable, "-c", LOCK, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


async def test_locked_file_refuses_with_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [Output("before")], audit=ACT, cost_usd=1.0)
        with locked(tmp_path / "rdev.db"):
            writes = [store.append("j1", [Output("refused")], audit=ACT) for _ in range(5)]
            results = await asyncio.gather(*writes, return_exceptions=True)

            assert [type(each) for each in results] == [StoreUnavailable] * 5
            assert "another process holds it locked; end that process and try again" in str(results[0])
            await _check(store, [6])
        await store.append("j1", [Output("after")], audit=ACT, cost_usd=1.0)
        await _check(store, [6, 5])


async def test_short_lock_is_waited_for(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "rdev.db", patience=10.0) as store:
        with locked(tmp_path / "rdev.db"):
            waiting = asyncio.create_task(store.act(ACT))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        await waiting
        assert len(await store.audit()) == 1


# kills


def _kill_while_writing(path: Path, seconds: float) -> list[list[str]]:
    """Run the writing process that long from its first accepted write, kill it, and give what it said was accepted."""
    tests = Path(writing.__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    with subprocess.Popen(
        [sys.executable, writing.__file__, str(path)], env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        rest = process.stdout.read()
        timer.join()
    assert process.returncode == -signal.SIGKILL
    return [line.decode().split() for line in (first + rest).splitlines(keepends=True) if line.endswith(b"\n")]


async def test_kill_at_any_moment_leaves_all_that_was_accepted_and_nothing_by_halves(tmp_path: Path) -> None:
    path = tmp_path / "rdev.db"
    dice = random.Random()
    for _ in range(5):
        accepted = await asyncio.to_thread(_kill_while_writing, path, dice.uniform(0.0, 0.4))
        async with Store.open(path) as store:
            assert await store.verify() == []
            await _check_accepted(store, accepted)
            for each in await store.jobs(limit=100_000):
                await _check_whole(store, each)
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


async def _check_accepted(store: Store, accepted: list[list[str]]) -> None:
    for what, job_id, *number in accepted:
        stored = await store.job(job_id)
        assert stored is not None
        assert await store.seen(job_id) == ""
        if what == "append":
            assert stored.seq >= int(number[0])
        if what == "end":
            assert stored.state is JobState.SUCCEEDED


async def _check_whole(store: Store, stored: Job) -> None:
    """The job's events have no gap and are those of the journal up to its offset, and its acts are all audited."""
    entries = await store.entries(stored.id, 0)
    assert [entry.seq for entry in entries] == list(range(1, stored.seq + 1))
    read = [len(entry.event.text) for entry in entries[1:13] if isinstance(entry.event, Text)]
    assert read == list(writing.SIZES * 3)[: len(read)]
    assert stored.offset == sum(read)
    ask = await store.ask(f"ask-{stored.id}")
    answered = ask is not None and ask.state is AskState.ANSWERED
    assert answered is (stored.seq >= 14)
    assert stored.state is (JobState.SUCCEEDED if stored.seq == 15 else JobState.QUEUED)
