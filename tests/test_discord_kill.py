"""rdev is killed at random moments of a story on Discord: the thread, read back, has every event once and in order."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from discord_lab import labels
from discord_nouns import Channel, Message
from fake_discord import FakeDiscord
from test_kill import model
from world import KEY, make_remote, settings

from adapters import discord_render as render
from bot.posts import Fold
from bot.store import Store

ROUNDS = int(os.environ.get("RDEV_KILL_ROUNDS", "10"))


def toml(value: Any) -> str:
    """A value as TOML writes it, tables in line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return json.dumps(value)


def configure(directory: Path, url: str, discord: FakeDiscord) -> None:
    """Write the configuration that rdev reads at each start."""
    data = settings(directory, url, rights={"admin": [f"discord:{discord.alice.id}"]})
    data["discord"] = {"guilds": [discord.state.guild], "api_url": discord.api, "gateway_url": discord.gateway}
    (directory / "rdev.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in data.items()))


@asynccontextmanager
async def rdev(directory: Path, discord: FakeDiscord) -> AsyncIterator[asyncio.subprocess.Process]:
    """`rdev serve`, connected; it is killed with SIGKILL when the context is left."""
    env = {**os.environ, "MODEL_KEY": KEY, "DISCORD_TOKEN": discord.token}
    argv = [sys.executable, "-m", "bot", "--config", str(directory / "rdev.toml"), "serve"]
    with (directory / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*argv, env=env, stderr=log, cwd=Path(__file__).parents[1])
    try:
        await discord.connected(20)
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        await discord.until(lambda: not discord.gate.lines)


def answers(discord: FakeDiscord, thread: Channel) -> Message | None:
    """The open question of the thread."""
    return next((each for each in discord.messages(thread) if "Yes" in labels(each)), None)


async def go_on(discord: FakeDiscord, thread: Channel) -> None:
    """Answer what is asked, until the result is there and the card says so."""
    while True:
        await discord.until(lambda: answers(discord, thread) or ended(discord, thread), 60)
        if ended(discord, thread):
            return
        if (asked := answers(discord, thread)) is not None:
            await discord.click(discord.alice, asked, "Yes")
            await discord.until(lambda: answers(discord, thread) is None, 10)


def ended(discord: FakeDiscord, thread: Channel) -> bool:
    every = [label for each in discord.messages(thread) for label in labels(each)]
    return "Push" in every and "Stop" not in every


async def wanted(directory: Path) -> list[str]:
    """What the events say that the thread must show."""
    async with Store.open(directory / "state" / "rdev.db") as store:
        (job,) = await store.jobs()
        fold = Fold(render.LIMIT)
        seq = 0
        while entries := await store.entries(job.id, seq):
            fold.feed(entries)
            seq = entries[-1].seq
        return [render.said(post) for post in fold.posts()]


async def story(directory: Path, seed: int, kills: int) -> None:
    moments = random.Random(seed)
    make_remote(directory)
    with model(directory) as url:
        async with FakeDiscord() as discord:
            configure(directory, url, discord)
            async with rdev(directory, discord):
                await discord.slash(discord.alice, discord.general, "claude", project="demo", prompt="story")
                await discord.until(lambda: any(len(thread.messages) > 1 for thread in discord.threads()))
                thread = discord.threads()[0]
                await asyncio.sleep(moments.uniform(0, 3))
            for _ in range(kills):
                async with rdev(directory, discord):
                    try:
                        async with asyncio.timeout(moments.uniform(0.05, 2.5)):
                            await go_on(discord, thread)
                    except TimeoutError:
                        pass
            async with rdev(directory, discord):
                await go_on(discord, thread)
            shown = [message.text for message in discord.messages(thread) if message.author is discord.bot]
            assert [text for text in shown if text] == await wanted(directory)
            # A new process cannot know what the killed one had used of a window; it may be told so, once.
            assert len([each for each in discord.requests if each.over]) <= kills + 1
            assert len(discord.threads()) == 1


@pytest.mark.parametrize("seed", [1])
async def test_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    await story(tmp_path, seed, kills=4)


@pytest.mark.trial
@pytest.mark.parametrize("seed", range(100, 100 + ROUNDS))
async def test_fifty_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    await story(tmp_path, seed, kills=5)
