"""From a command to Claude's first event in a running box, beside the CLI run by itself; both with one model."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from figures import Figure
from place import NOWHERE, PROJECT, Place, git, place
from served import Served, served

from bot.claude_cli import bundled
from executor import claude
from executor.claude_translate import Translator
from executor.events import Text
from executor.processes import run

PART = "claude"
_ADDED = 0.150
"""Seconds that rdev may add."""
_LOOK = 0.001
"""Seconds between two looks at a journal that may have begun."""
_SCRIPT = {"": [{"say": "Good morning. There is nothing to do today, so I say a few words and end."}]}


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds from the command to the CLI's first line, whatever it is, and to its first words."""

    line: float
    words: float


async def measure(count: int) -> list[Figure]:
    """Let Claude take so many further turns in one session, after a first one."""
    key, session = secrets.token_hex(16), str(uuid.uuid4())
    first = claude.Options(session, program=str(bundled()))
    further = replace(first, resume=True)
    async with asyncio.timeout(60 + 10 * count), _model(key) as url, place(url, key) as here, served(here) as service:
        said = await service.say(f"/claude {PROJECT} hello")
        await service.succeeded(said)
        home = here.directory / "home"
        await _bare(home, url, key, first)
        ours, bare = [], []
        for _ in range(count):  # by turns, so that both meet the same machine
            ours.append(await _turn(here, service, said.thread))
            bare.append(await _bare(home, url, key, further))
    return [
        _figure("first line in the journal", [turn.line for turn in ours], [turn.line for turn in bare]),
        _figure("first words shown", [turn.words for turn in ours], [turn.words for turn in bare]),
    ]


def _figure(name: str, ours: list[float], bare: list[float]) -> Figure:
    alone = statistics.median(bare)
    name = f"{name}, median of {len(ours)}"
    return Figure(PART, name, statistics.median(ours), "s", alone + _ADDED, False, alone, "the CLI by itself")


async def _turn(here: Place, service: Served, thread: str) -> Turn:
    said = await service.say("hello again", thread)
    journal = here.box / "jobs" / said.job / "out"
    while not (journal.exists() and journal.stat().st_size):  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(_LOOK)
    line = time.time()
    shown = await service.succeeded(said)
    return Turn(line - said.at, shown.first["text"] - said.at)


async def _bare(home: Path, url: str, key: str, options: claude.Options) -> Turn:
    repository = home / "repository"
    if not repository.exists():
        home.mkdir()
        git("clone", "-q", str(home.with_name("remote.git")), str(repository), cwd=home)
    env = {
        **claude.environment(model_url=url, proxy_url=NOWHERE),
        "ANTHROPIC_API_KEY": key,
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(home),
    }
    began, line, words, translator = time.time(), 0.0, 0.0, Translator()
    async with run(claude.argv(options), env=env, cwd=repository) as process:
        message = str(uuid.uuid4())
        translator.expect(message)
        await process.write(claude.user("hello again", message))
        torn = b""
        while not translator.idle and (data := await process.read()):
            line = line or time.time()
            *lines, torn = (torn + data).split(b"\n")
            for each in lines:
                if any(isinstance(event, Text) for event in translator.feed(each + b"\n").events):
                    words = words or time.time()
        await process.close_stdin()
        if code := await process.wait():
            raise RuntimeError(f"the CLI by itself: exit code {code}: {process.stderr()}")
    return Turn(line - began, words - began)


@asynccontextmanager
async def _model(key: str) -> AsyncIterator[str]:
    """The scripted model in a process of its own; its URL."""
    with tempfile.TemporaryDirectory(prefix="rdev-bench-") as name:
        script, secret = Path(name, "script.json"), Path(name, "key")
        script.write_text(json.dumps(_SCRIPT))
        secret.touch(mode=0o600)
        secret.write_text(key)
        argv = [sys.executable, "-m", "bot.scripted_model", "--script", str(script), "--key-file", str(secret)]
        async with run(argv, env=os.environ, cwd=Path.cwd()) as process:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.read()
            yield json.loads(line)["url"]
