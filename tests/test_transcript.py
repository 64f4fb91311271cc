"""What the console shows is on disk, whole and once, whatever dies."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.transcript import Page, Transcript
from bot.model import Entry
from executor.events import Completed, Event, Output, Text, ToolStarted

THREAD = "demo/fix-the-test"


def entries(job: str, first: int, *events: Event) -> list[Entry]:
    return [Entry(job, seq, 1_700_000_000.25 + seq, event) for seq, event in enumerate(events, first)]


def everything(transcript: Transcript, thread: str) -> list[Entry]:
    found: list[Entry] = []
    offset = 0
    while (page := transcript.read(thread, offset)).end > offset:
        found.extend(page.entries)
        offset = page.end
    return found


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    return Transcript(tmp_path / "threads")


async def test_what_was_shown_is_read_back_as_it_was(transcript):
    shown = entries(
        "j1", 1, Text("Hello\n“world”\x1b[2J \u2028 漢"), ToolStarted("t", "Bash", "ls"), Completed("succeeded", 0, 5)
    )
    assert await transcript.open(THREAD) == THREAD
    await transcript.show(THREAD, shown[:1])
    await transcript.show(THREAD, shown[1:])
    assert everything(transcript, THREAD) == shown
    line = json.loads(transcript.directory.joinpath("demo%2Ffix-the-test.jsonl").read_bytes().split(b"\n")[0])
    assert line == {
        "job": "j1",
        "seq": 1,
        "time": shown[0].time,
        "type": "text",
        "text": shown[0].event.text,
        "end": False,
        "parent": "",
    }


async def test_last_number_is_read_from_the_file_by_whoever_asks(transcript):
    await transcript.show(THREAD, entries("j1", 1, Text("a"), Text("b")))
    await transcript.show(THREAD, entries("j2", 1, Text('{"job":"j1","seq":9,'), Text('\n{"job":"j1","seq":99,')))
    for reader in (transcript, Transcript(transcript.directory)):
        assert [await reader.shown(THREAD, job) for job in ("j2", "j1", "j0")] == [2, 2, 0]
        assert await reader.shown("another", "j1") == 0


async def test_last_number_is_found_wherever_a_line_falls(transcript):
    """Lines of every length around the size of a read, so that a line's start falls on each side of one."""
    for number in range(40):
        await transcript.show(
            THREAD, entries(f"j{number}", 1, Output("x" * (262_000 + 8 * number)), Output("y" * number * 7))
        )
    for job in ("j0", "j39", "j17", "j3"):
        assert await Transcript(transcript.directory).shown(THREAD, job) == 2
    again = Transcript(transcript.directory)
    assert [await again.shown(THREAD, f"j{number}") for number in range(41)] == [2] * 40 + [0]


async def test_torn_line_is_cut_off_before_the_next_one(transcript):
    await transcript.show(THREAD, entries("j1", 1, Text("whole")))
    path = next(transcript.directory.iterdir())
    for torn in (
        b'{"job":"j1","seq":2,"ti',
        b"\0" * 300_000,
        b'{"job":"j1","seq":2,"time":1.0,"type":"text","text":"' + b"x" * 600_000,
    ):
        with path.open("ab") as file:
            file.write(torn)
        again = Transcript(transcript.directory)
        assert await again.shown(THREAD, "j1") == 1
    await again.show(THREAD, entries("j1", 2, Text("next")))
    assert [entry.event.text for entry in everything(again, THREAD)] == ["whole", "next"]


async def test_full_disk_leaves_no_part_of_a_batch(transcript):
    """The file-size limit stands for the disk: the kernel writes what fits and refuses the rest."""
    await transcript.show(THREAD, entries("j1", 1, Text("whole")))
    before = transcript.size(THREAD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 1000, hard))
    try:
        with pytest.raises(OSError, match="could be written"):
            await transcript.show(THREAD, entries("j1", 2, Text("y" * 600), Text("x" * 600)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert transcript.size(THREAD) == before
    assert await transcript.shown(THREAD, "j1") == 1
    await transcript.show(THREAD, entries("j1", 2, Text("y")))
    assert [entry.seq for entry in everything(transcript, THREAD)] == [1, 2]


WRITER = """
import asyncio, sys
from pathlib import Path
from adapters.transcript import Transcript
from bot.model import Entry
from executor.events import Output

async def main():
    transcript = Transcript(Path(sys.argv[1]))
    seq = {job: await transcript.shown("t", job) for job in ("a", "b")}
    print("ready", flush=True)
    while True:
        for job in seq:
            batch = [Entry(job, seq[job] + n, 1.5, Output(f"{job}{seq[job] + n} " + "é" * 30_000)) for n in range(1, 9)]
            await transcript.show("t", batch)
            seq[job] += 8
asyncio.run(main())
"""


def test_killed_writer_loses_nothing_and_doubles_nothing(tmp_path):
    """Each writer replays from what `shown` says, and is killed at a random moment, mid-write more often than not."""
    chance = random.Random(7)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.001, 0.06))
            writer.send_signal(signal.SIGKILL)
    transcript = Transcript(tmp_path)
    last = {job: asyncio.run(transcript.shown("t", job)) for job in ("a", "b")}
    rows = next(tmp_path.iterdir()).read_bytes().split(b"\n")
    assert rows.pop() == b""
    seen: dict[str, int] = {"a": 0, "b": 0}
    for row in map(json.loads, rows):
        assert row["seq"] == seen[row["job"]] + 1
        assert row["text"] == f"{row['job']}{row['seq']} " + "é" * 30_000
        seen[row["job"]] += 1
    assert seen == last
    assert min(seen.values()) > 12


@settings(max_examples=60)
@given(
    thread=st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable()),
    texts=st.lists(st.text(st.characters()), max_size=5),
)
def test_any_text_in_any_thread_is_kept(tmp_path_factory, thread, texts):
    transcript = Transcript(tmp_path_factory.mktemp("threads"))
    shown = entries("j", 1, *map(Text, texts))
    asyncio.run(transcript.show(thread, shown))
    readable = [Entry(e.job, e.seq, e.time, Text(e.event.text.encode(errors="replace").decode())) for e in shown]
    assert everything(transcript, thread) == readable
    assert [found.name for found in transcript.threads()] == ([thread] if texts else [])
    assert asyncio.run(Transcript(transcript.directory).shown(thread, "j")) == len(texts)


@pytest.mark.parametrize("thread", ["..", ".", "../../etc/passwd", "a/b", "%2F", "漢" * 20])
async def test_thread_stays_in_its_directory(transcript, thread):
    await transcript.show(thread, entries("j", 1, Text("x")))
    assert [found.name for found in transcript.threads()] == [thread]
    assert len(list(transcript.directory.iterdir())) == 1
    assert (transcript.directory / next(transcript.directory.iterdir())).stat().st_mode & 0o777 == 0o600


async def test_later_versions_events_are_passed_over(transcript):
    await transcript.show(THREAD, entries("j", 1, Text("a")))
    with next(transcript.directory.iterdir()).open("ab") as file:
        file.write(
            b'{"job":"j","seq":2,"time":1.0,"type":"hologram","x":1}\n{"job":"j","seq":3,"time":1.0,"type":"text","tex\n'
        )
    await transcript.show(THREAD, entries("j", 4, Text("b")))
    assert [entry.seq for entry in everything(transcript, THREAD)] == [1, 4]


async def test_reader_asks_for_the_types_it_wants(transcript):
    await transcript.show(THREAD, entries("j", 1, Text("a"), Output("b"), Completed("failed", 1, 1)))
    page = transcript.read(THREAD, 0, frozenset({"complete"}))
    assert [entry.seq for entry in page.entries] == [3]
    assert page.end == transcript.size(THREAD)
    assert transcript.read("no such thread", 0) == Page((), 0)


async def test_tail_is_the_end_of_the_thread(transcript):
    await transcript.show(THREAD, entries("j", 1, *(Output("x" * 10_000) for _ in range(60))))
    page = transcript.tail(THREAD, 5)
    assert [entry.seq for entry in page.entries] == [56, 57, 58, 59, 60]
    assert page.end == transcript.size(THREAD)
    assert 20 < len(transcript.tail(THREAD, 60).entries) < 30


async def test_reader_is_told_which_threads_grew_and_not_what(transcript):
    with transcript.growing() as growth:
        for seq in range(1, 1000):
            await transcript.show(f"t{seq % 3}", entries("j", seq, Text("x")))
        assert await growth.wait() == {"t0", "t1", "t2"}
        waiting = asyncio.create_task(growth.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        await transcript.show("t9", entries("j", 1, Text("x")))
        assert await waiting == {"t9"}
    await transcript.show("t9", entries("j", 2, Text("x")))
    assert not growth._names


async def test_many_threads_hold_no_files_open(transcript):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for seq in range(1, 4):
        for number in range(300):
            await transcript.show(f"thread {number}", entries("j", seq, Text("x")))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert len(transcript.threads()) == 300
    assert await transcript.shown("thread 0", "j") == 3


async def test_memory_of_job_numbers_is_bounded(tmp_path):
    transcript = Transcript(tmp_path)
    for thread in range(4):
        for job in range(20_000):
            transcript._index(f"t{thread}").jobs[f"j{job}"] = 1
    transcript._index("one more")
    assert sum(len(index.jobs) for index in transcript._indexes.values()) <= 65_536


async def test_output_is_written_at_more_than_50_megabytes_a_second(transcript):
    text = ("lorem ipsum dolor sit amet\n" * 3000)[: 64 * 1024]
    batch = [Output(text)] * 16
    begun = time.perf_counter()
    for number in range(50):
        await transcript.show(THREAD, entries("j", 1 + 16 * number, *batch))
    rate = 50 * 16 * len(text) / 1e6 / (time.perf_counter() - begun)
    print(f"{rate:.0f} MB/s")
    begun = time.perf_counter()
    assert await Transcript(transcript.directory).shown(THREAD, "another") == 0
    print(f"searched in {time.perf_counter() - begun:.3f} s")
    assert rate > 50
