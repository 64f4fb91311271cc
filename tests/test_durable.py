"""Durable jobs through the port: boxrun itself, over a backend of real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_backend import PlainBackend

from executor.backend import Box
from executor.durable import Beat, Boxrun, Chunk, Exited, Followed, Lost, Spec, Unknown
from executor.errors import CommandFailed, InputClosed, JobUnknown
from executor.frames import Frame, FrameParser

SLEEP = Spec(["sleep", "1000"])
RECORD = {"code": 3, "signal": 0, "reason": "exited", "started": 1.5, "ended": 2.5, "size": 7, "message": ""}


@pytest.fixture
async def boxrun(tmp_path: Path) -> AsyncIterator[Boxrun]:
    backend = PlainBackend(tmp_path)
    await backend.start(Box("p"))
    boxrun = Boxrun(backend, "p")
    yield boxrun
    for job in await boxrun.list():
        await boxrun.stop(job.job, grace=0)


async def told(followed: Followed, job: str) -> tuple[bytes, Frame]:
    """What comes of one job until its last frame."""
    data = bytearray()
    offset = None
    async for frame in followed:
        match frame:
            case Chunk(name, at, piece) if name == job:
                assert offset in (None, at), "a chunk begins where the last one ended"
                offset = at + len(piece)
                data += piece
            case Exited(name) | Lost(name) | Unknown(name) if name == job:
                return bytes(data), frame
            case _:
                continue
    raise AssertionError


async def follow(boxrun: Boxrun, job: str, offset: int = 0) -> tuple[bytes, Frame]:
    async with boxrun.follow() as followed:
        await followed.add(job, offset)
        return await told(followed, job)


async def test_job_is_started_fed_followed_and_removed(boxrun: Boxrun) -> None:
    spec = Spec(["sh", "-c", 'echo "$GREETING"; cat; exit 3'], env={"GREETING": "hello"}, input="jsonl", cwd="/")
    assert await boxrun.start("a", spec)
    assert not await boxrun.start("a", spec)
    line = json.dumps({"text": "ü" * 100_000}).encode() + b"\n"
    await boxrun.send("a", line)
    await boxrun.eof("a")
    data, last = await follow(boxrun, "a")
    assert data == b"hello\n" + line
    assert isinstance(last, Exited)
    assert (last.record.code, last.record.reason, last.offset) == (3, "exited", len(data))
    (status,) = await boxrun.list()
    assert (status.job, status.state, status.size, status.record) == ("a", "exited", len(data), last.record)
    assert await boxrun.gc(["a", "unknown"]) == ["a"]
    assert await boxrun.list() == []


async def test_closed_input_unknown_job_and_unfit_line_are_told_apart(boxrun: Boxrun) -> None:
    await boxrun.start("a", Spec(["cat"], input="jsonl"))
    with pytest.raises(CommandFailed, match="not a JSON object"):
        await boxrun.send("a", b"nonsense\n")
    await boxrun.eof("a")
    with pytest.raises(InputClosed):
        await boxrun.send("a", b"{}\n")
    with pytest.raises(JobUnknown):
        await boxrun.send("b", b"{}\n")
    with pytest.raises(JobUnknown):
        await boxrun.eof("b")
    with pytest.raises(JobUnknown):
        await boxrun.stop("b")


async def test_unfit_specification_raises_boxruns_sentence(boxrun: Boxrun) -> None:
    with pytest.raises(CommandFailed, match="specification is wrong"):
        await boxrun.start("a", Spec([]))


async def test_job_that_cannot_start_ends_with_the_reason(boxrun: Boxrun) -> None:
    assert not await boxrun.start("a", Spec(["no-such-program"]))
    _, last = await follow(boxrun, "a")
    assert isinstance(last, Exited)
    assert last.record.reason == "failed"
    assert "no-such-program" in last.record.message


async def test_stopped_job_is_told_by_its_record_and_a_lost_one_by_none(boxrun: Boxrun, tmp_path: Path) -> None:
    await boxrun.start("a", SLEEP)
    record = await boxrun.stop("a")
    assert record is not None
    assert (record.code, record.signal, record.reason) == (130, 2, "stopped")
    await boxrun.start("b", SLEEP)
    os.kill(int((tmp_path / "p/boxrun/jobs/b/pid").read_text().split()[0]), signal.SIGKILL)
    assert await follow(boxrun, "b") == (b"", Lost("b", 0))
    assert await boxrun.stop("b") is None


async def test_interrupt_line_reaches_the_job_as_its_last(boxrun: Boxrun) -> None:
    await boxrun.start("a", Spec(["cat"], input="jsonl"))
    record = await boxrun.stop("a", b'{"interrupt": 1}\n', grace=5)
    assert record is not None
    assert (record.code, record.reason) == (0, "stopped")
    assert (await follow(boxrun, "a"))[0] == b'{"interrupt": 1}\n'


async def test_fifty_megabytes_come_through_byte_for_byte_and_fast(boxrun: Boxrun, tmp_path: Path) -> None:
    await boxrun.start("a", Spec(["head", "-c", "50000000", "/dev/urandom"]))
    assert isinstance((await follow(boxrun, "a", 50_000_000 - 1))[1], Exited)
    began = time.monotonic()
    data, last = await follow(boxrun, "a")
    seconds = time.monotonic() - began
    assert data == (tmp_path / "p/boxrun/jobs/a/out").read_bytes()
    assert isinstance(last, Exited)
    assert last.offset == 50_000_000
    assert seconds < 2.5, "20 MB/s on the busiest of machines; a quiet one does 300"


async def test_followers_at_once_and_resumed_ones_lose_and_double_nothing(boxrun: Boxrun, tmp_path: Path) -> None:
    script = "for i in $(seq 400); do head -c $((RANDOM * 3)) /dev/urandom; done"
    await boxrun.start("a", Spec(["bash", "-c", script]))

    async def piecemeal() -> bytes:
        data = bytearray()
        while True:
            async with boxrun.follow() as followed:
                await followed.add("a", len(data))
                most = len(data) + 300_000
                async for frame in followed:
                    match frame:
                        case Chunk(_, offset, piece):
                            assert offset == len(data)
                            data += piece
                        case Exited():
                            return bytes(data)
                    if len(data) > most:
                        break

    whole, pieces, other = await asyncio.gather(follow(boxrun, "a"), piecemeal(), follow(boxrun, "a", 100))
    journal = (tmp_path / "p/boxrun/jobs/a/out").read_bytes()
    assert len(journal) > 1_000_000
    assert (whole[0], pieces, other[0]) == (journal, journal, journal[100:])


async def test_one_stream_follows_jobs_as_they_come_and_go(boxrun: Boxrun) -> None:
    async with boxrun.follow() as followed:
        await followed.add("nowhere")
        assert await told(followed, "nowhere") == (b"", Unknown("nowhere"))
        for n in range(5):
            await boxrun.start(f"a{n}", Spec(["sh", "-c", f"echo {n}; sleep 0.1; exit {n}"]))
            await followed.add(f"a{n}")
        codes, text = {}, b""
        async for frame in followed:
            match frame:
                case Chunk():
                    text += frame.data
                case Exited(job, _, record):
                    codes[job] = record.code
            if len(codes) == 5:
                break
        assert codes == {f"a{n}": n for n in range(5)}
        assert sorted(text.split()) == [b"0", b"1", b"2", b"3", b"4"]
        await boxrun.start("b", Spec(["sh", "-c", "echo 1; sleep 0.3; echo 2"]))
        await followed.add("b")
        assert isinstance(await anext(aiter(followed)), Chunk)
        await followed.remove("b")
        await boxrun.start("c", Spec(["sleep", "0.6"]))
        await followed.add("c")
        async for frame in followed:
            assert isinstance(frame, Exited)
            assert frame.job == "c"
            break


def own_children() -> set[int]:
    """The children of the main thread; an earlier test may have left one that is about to end."""
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


async def test_dead_stream_is_an_error_and_not_an_end(boxrun: Boxrun) -> None:
    """A consumer that took it for the end would wait for ever."""
    await boxrun.start("a", SLEEP)
    before = own_children()
    async with boxrun.follow() as followed:
        await followed.add("a")
        (child,) = own_children() - before
        os.kill(child, signal.SIGKILL)
        with pytest.raises(CommandFailed) as failure:
            await told(followed, "a")
        assert failure.value.code == 137


async def test_reader_that_is_cancelled_leaves_no_process(boxrun: Boxrun) -> None:
    await boxrun.start("a", SLEEP)
    before = own_children()
    task = asyncio.create_task(follow(boxrun, "a"))
    await asyncio.sleep(0.2)
    assert own_children() > before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert own_children() <= before


async def test_stop_does_not_wait_behind_what_it_stops(boxrun: Boxrun) -> None:
    """With streams open that nobody reads, and input that nobody takes."""
    await boxrun.start(
        "a", Spec(["sh", "-c", 'trap "" INT; cat /dev/zero | head -c 5000000; sleep 1000'], input="jsonl")
    )
    async with AsyncExitStack() as stack:
        for _ in range(3):
            followed = await stack.enter_async_context(boxrun.follow())
            await followed.add("a")
        for _ in range(3):
            await boxrun.send("a", json.dumps({"text": "x" * 300_000}).encode() + b"\n")
        began = time.monotonic()
        record = await boxrun.stop("a", b"{}\n")
        assert record is not None
        assert record.reason == "stopped"
        assert time.monotonic() - began < 5


# ── the parser alone ──────────────────────────────────────────────────────────────────────────────────────────────────

FRAMES = (
    b'{"job": "a", "offset": 5, "length": 3}\nx\ny'
    b'{"beat": true}\n'
    b'{"job": "b", "offset": 0, "length": 12}\n{"beat":1}\n\n'
    b'{"later": "version"}\n'
    b'{"job": "a", "offset": 8, "exit": ' + json.dumps(RECORD).encode() + b"}\n"
    b'{"job": "b", "lost": true, "offset": 12}\n'
    b'{"job": "c", "error": "unknown"}\n'
)


@settings(database=None)
@given(st.lists(st.integers(0, len(FRAMES))))
def test_frames_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FRAMES)]
    parser = FrameParser()
    data = {"a": b"", "b": b""}
    rest = []
    for begin, end in pairwise(edges):
        for frame in parser.feed(FRAMES[begin:end]):
            if isinstance(frame, Chunk):
                assert frame.offset == {"a": 5, "b": 0}[frame.job] + len(data[frame.job])
                data[frame.job] += frame.data
            else:
                rest.append(frame)
    assert data == {"a": b"x\ny", "b": b'{"beat":1}\n\n'}
    assert [type(frame) for frame in rest] == [Beat, Exited, Lost, Unknown]


@pytest.mark.parametrize("stream", [b"nonsense\n", b"[1\n", b"{" * 70_000, b'{"error": "no such verb"}\n'])
def test_stream_of_another_make_is_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(FrameParser().feed(stream))
