"""The service is killed at random moments: the surface shows what the journal says, each event once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kill_driver import read
from world import KEY, git, make_remote, text_of

from adapters.transcript import Transcript
from bot.journal import ClaudeReader, OutputReader
from bot.model import Entry, JobKind
from bot.redaction import Redactor
from bot.store import Store
from executor.events import (
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    Event,
    Output,
    Pushed,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
)

ROUNDS = int(os.environ.get("RDEV_KILL_ROUNDS", "2"))
WORDS = " ".join(f"word{number}" for number in range(400)) + "."
STORY = {
    "story": [
        [
            {"say": WORDS, "pace": 0.01},
            {"tool": "Bash", "input": {"command": "sleep 0.3; echo one > one.txt; seq 200"}},
        ],
        {"ask": [{"question": "Go on?", "options": ["Yes", "No"]}]},
        [
            {"say": "Second. " + WORDS, "pace": 0.01},
            {"tool": "Bash", "input": {"command": "sleep 0.3; echo two > two.txt"}},
        ],
        {"say": "The end."},
    ]
}


@contextmanager
def model(directory: Path) -> Iterator[str]:
    """A scripted model that outlives the service."""
    (directory / "script.json").write_text(json.dumps(STORY))
    (directory / "key").write_text(KEY)
    argv = [sys.executable, "-m", "bot.scripted_model", "--script", str(directory / "script.json")]
    with subprocess.Popen([*argv, "--key-file", str(directory / "key")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def run_with_kills(directory: Path, url: str, text: str, moments: random.Random) -> int:
    """Kill and start the service until the job's end is shown; how often it was killed."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    argv = [sys.executable, str(Path(__file__).parent / "kill_driver.py"), str(directory), url, text]
    for kills in range(60):
        # Late enough for the service to get somewhere, and at any moment of what it does then.
        delay = moments.uniform(0.4, 1.6)
        with subprocess.Popen(argv, env=env) as process:
            try:
                if process.wait(delay if kills < 12 else 60) == 0:
                    return kills
                raise AssertionError("the service ended by itself")
            except subprocess.TimeoutExpired:
                process.kill()
    raise AssertionError("it never ended")


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_claude_job_is_shown_whole_and_once_through_kills(tmp_path: Path, seed: int) -> None:
    make_remote(tmp_path)
    (tmp_path / "project.json").write_text(json.dumps({"push": "auto"}))
    with model(tmp_path) as url:
        kills = run_with_kills(tmp_path, url, "/claude demo tell the story", random.Random(seed))

    assert kills >= 2
    events = await shown(tmp_path)
    said = text_of(events)
    assert said == WORDS + "Second. " + WORDS + "The end."
    assert told(events) == told(journal(tmp_path, JobKind.CLAUDE))
    for kind, count in ((Started, 1), (ToolStarted, 3), (ToolEnded, 3), (AskRaised, 1), (AskClosed, 1)):
        assert len([e for e in events if isinstance(e, kind)]) == count, kind
    for kind in (Committed, Pushed, Completed):
        assert len([e for e in events if isinstance(e, kind)]) == 1, kind
    assert isinstance(events[-1], Completed)
    assert events[-1].state == "succeeded", events[-1]
    pushed = next(e for e in events if isinstance(e, Pushed))
    assert git("log", "--format=%s", f"main..{pushed.branch}", cwd=tmp_path / "remote.git") == "tell the story\n"
    assert git("show", "--name-only", "--format=", pushed.branch, cwd=tmp_path / "remote.git").split() == [
        "one.txt",
        "two.txt",
    ]


async def test_output_is_shown_whole_and_once_through_kills(tmp_path: Path) -> None:
    make_remote(tmp_path)
    (tmp_path / "project.json").write_text("{}")
    command = "/shell demo for i in $(seq 400); do echo line $i; sleep 0.01; done"
    kills = run_with_kills(tmp_path, "http://127.0.0.1:9", command, random.Random(1))

    assert kills >= 1
    events = await shown(tmp_path)
    assert text_of(events) == "".join(f"line {number}\n" for number in range(1, 401))
    assert told(events) == told(journal(tmp_path, JobKind.SHELL))


async def shown(directory: Path) -> list[Event]:
    """What the thread shows, after checking that the store has the same and that the audit log is whole."""
    transcript = Transcript(directory / "console")
    entries: list[Entry] = [e for thread in transcript.threads() for e in read(transcript, thread.name)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    async with Store.open(directory / "state" / "rdev.db") as store:
        stored: list[Entry] = []
        while page := await store.entries(entries[0].job, len(stored)):
            stored += page
        assert stored == entries
        assert await store.verify() == []
        outcomes = [row.outcome for row in await store.audit(limit=100) if row.job == entries[0].job]
        assert outcomes.count("accepted") == 1
        assert outcomes.count("succeeded") == 1
    return [entry.event for entry in entries]


def journal(directory: Path, kind: JobKind) -> list[Event]:
    """What the job's journal says, read in one go."""
    (path,) = (directory / "state" / "boxes" / "demo" / "jobs").glob("*/out")
    data = path.read_bytes()
    reader = ClaudeReader(Redactor(), 0, "") if kind is JobKind.CLAUDE else OutputReader(Redactor(), 0)
    readings = (reader.read(data), reader.read(b"", final=True))
    return [event for reading in readings if reading is not None for event in reading.events]


def told(events: list[Event]) -> list[object]:
    """The events that come from the journal, with text joined."""
    result: list[object] = []
    for event in events:
        if isinstance(event, Text | Output):
            if result and isinstance(result[-1], str):
                result[-1] += event.text
            else:
                result.append(event.text)
        elif isinstance(event, ToolStarted | ToolEnded):
            result.append(event)
    return [each for each in result if each != ""]
