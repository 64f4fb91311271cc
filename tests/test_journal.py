"""What a journal says is the same however it is cut, and no secret goes out in pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.journal import ClaudeReader, OutputReader
from bot.redaction import MARK, Redactor
from executor.events import Output, Text

SECRET = "planted-8Qm2ZxT5vLr0"
SAMPLES = sorted((Path(__file__).parent / "samples" / "claude").glob("*.jsonl"))


def delta(text: str) -> bytes:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return json.dumps({"type": "stream_event", "event": event}).encode() + b"\n"


def opened() -> bytes:
    start = {"type": "message_start", "message": {"id": "m1", "role": "assistant", "content": []}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return b"".join(json.dumps({"type": "stream_event", "event": e}).encode() + b"\n" for e in (start, block))


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_output_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = OutputReader(Redactor([SECRET]), 0)
    readings = [reader.read(data[a:b]) for a, b in pairwise(edges)]
    readings.append(reader.read(b"", final=True))
    found = [reading for reading in readings if reading is not None]

    text = "".join(e.text for reading in found for e in reading.events if isinstance(e, Output))
    assert text == Redactor().clean(data.decode("utf-8", "surrogateescape"))
    assert (found[-1].offset if found else 0) == len(data)


@given(st.integers(1, 2 * len(SECRET)))
def test_output_never_holds_a_secret_that_came_in_two_pieces(cut: int) -> None:
    data = f"a {SECRET} b {SECRET}\n".encode()
    reader = OutputReader(Redactor([SECRET]), 0)
    readings = [reader.read(data[:cut]), reader.read(data[cut:]), reader.read(b"", final=True)]
    pieces = [e.text for r in readings if r is not None for e in r.events if isinstance(e, Output)]

    assert SECRET not in "".join(pieces)
    assert all(SECRET[5:] not in piece for piece in pieces)
    assert pieces[-1].endswith("\n")


@given(st.integers(1, len(SECRET) - 1))
def test_claude_never_tells_a_secret_in_two_deltas(cut: int) -> None:
    reader = ClaudeReader(Redactor([SECRET]), 0, "")
    parts = [opened(), delta("it is " + SECRET[:cut]), delta(SECRET[cut:] + ", you see")]
    readings = [reader.read(part) for part in parts] + [reader.read(b"", final=True)]
    texts = [e.text for r in readings if r is not None for e in r.events if isinstance(e, Text)]

    assert SECRET not in "".join(texts)
    assert SECRET[5:] not in "".join(texts)
    assert MARK in "".join(texts)
    assert "".join(texts).endswith(", you see")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_claudes_journal_is_the_same_after_a_restart_anywhere(sample: Path, data: st.DataObject) -> None:
    """A second reader that begins at the first one's offset goes on with neither gap nor repetition."""
    raw = sample.read_bytes()
    cut = data.draw(st.integers(0, len(raw)))
    whole = ClaudeReader(Redactor(), 0, "")
    expected = [r for r in (whole.read(raw), whole.read(b"", final=True)) if r is not None]

    first = ClaudeReader(Redactor(), 0, "")
    before = first.read(raw[:cut])
    offset, follow = (before.offset, before.follow) if before else (0, "")
    second = ClaudeReader(Redactor(), offset, follow)
    after = [r for r in (second.read(raw[offset:]), second.read(b"", final=True)) if r is not None]

    found = [*([before] if before else []), *after]
    assert _told(found) == _told(expected)
    assert found[-1].offset == expected[-1].offset == len(raw)


def _told(readings: list) -> list[str]:  # type: ignore[type-arg]
    """The events with neighbouring text joined: where a text is cut is not part of what it says."""
    told: list[str] = []
    for event in (event for reading in readings for event in reading.events):
        if isinstance(event, Text):
            if told and told[-1].startswith(f"T{event.parent}\0") and not told[-1].endswith("\1"):
                told[-1] += event.text
            else:
                told.append(f"T{event.parent}\0{event.text}")
            told[-1] += "\1" if event.end else ""
        else:
            told.append(repr(event))
    return told


def test_long_line_costs_one_event_and_little_time() -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "x" * 10_000_000}
    line = json.dumps({"type": "user", "message": {"role": "user", "content": [block]}}).encode() + b"\n"
    reader = ClaudeReader(Redactor([SECRET]), 0, "")
    pieces = [line[at : at + 262_144] for at in range(0, len(line), 262_144)]
    readings = [r for r in (reader.read(piece) for piece in pieces) if r is not None]

    assert len(readings) == 1
    assert readings[0].offset == len(line)
    assert len(readings[0].events) == 1
