"""rdev is killed at random moments of a story on Slack: the thread has every event once and in order."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_slack import FakeSlack
from slack_lab import CHANNEL, rights, until, whole
from slack_state import Json
from test_kill import WORDS, model
from world import make_remote

from bot.store import Store

ROUNDS = int(os.environ.get("RDEV_KILL_ROUNDS", "2"))


@dataclass
class Service:
    """rdev in a process of its own, killed again and again until it is left alone."""

    argv: list[str]
    moments: random.Random
    most: int
    kills: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    async def suffer(self) -> None:
        """Be killed so often; then serve on."""
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        while True:
            self._process = await asyncio.create_subprocess_exec(*self.argv, env=env)
            if self.kills >= self.most:
                return
            # Late enough for the service to get somewhere, and at any moment of what it does then.
            await asyncio.sleep(self.moments.uniform(0.7, 2.2))
            assert self._process.returncode is None, "the service ended by itself"
            self._process.kill()
            await self._process.wait()
            self.kills += 1

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@asynccontextmanager
async def killed(directory: Path, url: str, slack: FakeSlack, seed: int, most: int) -> AsyncIterator[Service]:
    driver = str(Path(__file__).parent / "slack_kill_driver.py")
    argv = [sys.executable, driver, str(directory), url, slack.base_url]
    service = Service(argv, random.Random(seed), most)
    task = asyncio.create_task(service.suffer())
    try:
        yield service
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.end()


async def story(directory: Path, seed: int, most: int) -> int:
    """Tell the story while rdev is killed; how often it was."""
    make_remote(directory)
    async with FakeSlack(minute=20, retries=(0.1, *[0.5] * 100)) as slack:
        (directory / "project.json").write_text(json.dumps({"push": "auto", "rights": rights(slack)}))
        with model(directory) as url:
            async with killed(directory, url, slack, seed, most) as service:
                root = slack.mention("alice", CHANNEL, "tell the story")
                ask = await until(lambda: asked(slack, root), 90)
                while "[Yes]" in "\n".join(slack.seen(CHANNEL, root)):
                    # As a person does who sees no answer: press again.
                    await slack.click("alice", ask["ts"], button(ask))
                    await asyncio.sleep(0.3)
                await until(lambda: any("[Push]" in text for text in slack.seen(CHANNEL, root)), 90)
                await until(lambda: not any("[Stop]" in text for text in slack.seen(CHANNEL, root)), 30)
        await check(directory, slack, root)
        return service.kills


def asked(slack: FakeSlack, root: str) -> Json | None:
    texts = slack.seen(CHANNEL, root)
    return next((m for m, text in zip(slack.thread(CHANNEL, root), texts, strict=True) if "[Yes]" in text), None)


def button(ask: Json) -> str:
    return next(
        str(e["action_id"])
        for b in ask["blocks"]
        for e in b.get("elements", ())
        if ":answer:" in e.get("action_id", "")
    )


async def check(directory: Path, slack: FakeSlack, root: str) -> None:
    """The thread is what the events say, post for post."""
    async with Store.open(directory / "state" / "rdev.db") as store:
        (job,) = await store.jobs(project="demo")
        assert await store.verify() == []
        await whole(store, slack, job)
    shown = "\n".join(slack.seen(CHANNEL, root)).replace("\n", " ")
    assert shown.count(WORDS) == 2


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_thread_is_whole_and_in_order_through_kills(tmp_path: Path, seed: int) -> None:
    assert await story(tmp_path, seed, most=4) == 4


@pytest.mark.trial
@pytest.mark.parametrize("seed", range(100, 110))
async def test_thread_is_whole_through_many_kills(tmp_path: Path, seed: int) -> None:
    assert await story(tmp_path, seed, most=6) == 6
