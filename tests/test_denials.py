"""The log of refused connections: followed across rotation and truncation, and across our own restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boxing import backend, box, run

from executor import denials
from executor.backend import Denial
from executor.denials import Repeats


def denial(host: str, slot: int = 1, count: int = 1) -> Denial:
    return Denial("demo", slot, host, 443, count)


def read(line: bytes) -> Denial | None:
    """Lines of these tests are a host's name, or nothing of interest."""
    return denial(line.decode()) if line.startswith(b"host") else None


class Reading:
    """A reader of a log, as a task, that keeps what it was told."""

    def __init__(self, log: Path, cursor: Path) -> None:
        self.told: list[Denial] = []
        self.rotations = 0
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read(log, cursor))

    async def _read(self, log: Path, cursor: Path) -> None:
        async with contextlib.aclosing(denials.follow(log, cursor, read, self._rotate)) as found:
            async for one in found:
                self.told.append(one)
                self._news.set()

    def _rotate(self) -> None:
        self.rotations += 1
        self._news.set()

    async def hosts(self, count: int) -> list[str]:
        """The hosts told of, once there are so many."""
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()
        return [one.host for one in self.told]

    async def end(self) -> None:
        """Stop reading."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def reading(directory: Path) -> AsyncIterator[Reading]:
    reader = Reading(directory / "access.log", directory / "cursor")
    await asyncio.sleep(0.05)
    try:
        yield reader
    finally:
        await reader.end()


def append(directory: Path, text: str) -> None:
    with (directory / "access.log").open("a") as log:
        log.write(text)


async def test_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        append(tmp_path, "host-1\n")
        assert await reader.hosts(1) == ["host-1"]


async def test_line_in_two_pieces_is_one(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        append(tmp_path, "other\nhost-")
        await asyncio.sleep(0.05)
        append(tmp_path, "1\n")
        assert await reader.hosts(1) == ["host-1"]


async def test_rotated_log_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        append(tmp_path, "host-1\n")
        await reader.hosts(1)
        append(tmp_path, "host-2\n")
        (tmp_path / "access.log").rename(tmp_path / "access.log.0")
        append(tmp_path, "host-3\n")
        assert await reader.hosts(3) == ["host-1", "host-2", "host-3"]


async def test_truncated_log_is_read_from_its_new_beginning(tmp_path: Path) -> None:
    append(tmp_path, "host-1\nhost-2\n")
    async with reading(tmp_path) as reader:
        await reader.hosts(2)
        os.truncate(tmp_path / "access.log", 0)
        append(tmp_path, "host-3\n")
        assert await reader.hosts(3) == ["host-1", "host-2", "host-3"]


async def test_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    append(tmp_path, "host-1\n")
    async with reading(tmp_path) as reader:
        await reader.hosts(1)
    append(tmp_path, "host-2\n")
    async with reading(tmp_path) as reader:
        assert await reader.hosts(1) == ["host-2"]


async def test_long_log_is_rotated_once_and_an_endless_line_is_passed_over(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        append(tmp_path, "x" * (5 << 20))
        append(tmp_path, "x\nhost-1\nhost-2\n")
        assert await reader.hosts(2) == ["host-1", "host-2"]
        await asyncio.sleep(0.05)
        assert reader.rotations == 1


async def test_reader_sleeps_while_nothing_happens(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        append(tmp_path, "host-1\n")
        await reader.hosts(1)
        before = sum(os.times()[:2])
        await asyncio.sleep(0.5)
        assert sum(os.times()[:2]) - before < 0.1


async def test_squid_rotates_its_log_when_asked_and_denials_go_on(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        told: list[str] = []

        async def listen() -> None:
            async for one in boxes.denials():
                told.append(one.host)

        listening = asyncio.create_task(listen())
        for number in range(3):
            await run(boxes, "demo", ["curl", "-s", "-o", "/dev/null", f"http://n{number}.example.org"])
            boxes._egress.rotate()  # the limit is 4 MiB
            await asyncio.sleep(0.3)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        logs = sorted(path.name for path in boxes._runtime.access_log.parent.glob("access.log*"))
    assert told == ["n0.example.org", "n1.example.org", "n2.example.org"]
    assert logs == ["access.log", "access.log.0"]


# repeats, with a clock of ours


def test_first_denial_is_told_at_once_and_repeats_with_their_number_when_the_window_is_over() -> None:
    repeats = Repeats()
    assert repeats.next() is None
    assert repeats.add(denial("a"), 100.0)
    assert not repeats.add(denial("a"), 101.0)
    assert not repeats.add(denial("a"), 104.9)
    assert repeats.next() == 105.0
    assert repeats.due(104.9) == []
    assert repeats.due(105.0) == [denial("a", count=2)]
    assert repeats.next() is None


def test_denial_without_repeats_is_told_once() -> None:
    repeats = Repeats()
    assert repeats.add(denial("a"), 100.0)
    assert repeats.due(105.0) == []
    assert repeats.add(denial("a"), 105.1)


def test_other_slots_ports_and_hosts_are_told_for_themselves() -> None:
    repeats = Repeats()
    assert repeats.add(denial("a"), 100.0)
    assert repeats.add(denial("a", slot=2), 100.0)
    assert repeats.add(denial("b"), 100.0)
    assert repeats.add(Denial("demo", 1, "a", 80), 100.0)


@pytest.mark.parametrize("number", [1000])
def test_scan_of_many_hosts_is_told_of_in_part_and_hides_no_other_slots(number: int) -> None:
    repeats = Repeats()
    assert sum(repeats.add(denial(f"h{n}"), 100.0) for n in range(number)) == 64
    assert repeats.add(denial("a", slot=2), 100.0)
    repeats.due(105.0)
    assert repeats.add(denial("again"), 105.1)
