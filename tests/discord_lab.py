"""A whole rdev on a Discord on loopback, and what a thread there shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discord_aim import aimed
from discord_nouns import Channel, Interaction, Message
from fake_discord import FakeDiscord
from world import KEY, make_remote, settings

from adapters.discord import connected
from bot.__main__ import serving
from bot.config import parse
from bot.script import load
from bot.scripted_model import ScriptedModel
from bot.service import Service


@dataclass
class Lab:
    """The service, and the server that its people use."""

    directory: Path
    discord: FakeDiscord
    service: Service

    async def work(self, prompt: str, **given: Any) -> Channel:
        """Alice gives Claude work in #general; the thread that it shows itself in."""
        known = len(self.discord.threads())
        await self.discord.slash(
            self.discord.alice, self.discord.general, "claude", project="demo", prompt=prompt, **given
        )
        await self.discord.until(lambda: len(self.discord.threads()) > known)
        return self.discord.threads()[-1]

    def texts(self, thread: Channel) -> list[str]:
        """What the thread says, by message."""
        return [message.text for message in self.discord.messages(thread)]

    async def sees(self, thread: Channel, text: str, *, timeout: float = 30) -> Message:
        """Wait until a message of the thread says this."""

        def look() -> Message | None:
            return next((each for each in self.discord.messages(thread) if text in each.text), None)

        try:
            found: Message = await self.discord.until(look, timeout)
        except TimeoutError:
            raise AssertionError(f"the thread never said {text!r}, but {self.texts(thread)}") from None
        return found

    async def ended(self, thread: Channel, *, count: int = 1) -> Message:
        """Wait until the n-th job of the thread has its result, and all its cards say so."""

        def look() -> Message | None:
            found = [each for each in self.discord.messages(thread) if "Push" in labels(each)]
            stops = [each for each in self.discord.messages(thread) if "Stop" in labels(each)]
            return found[count - 1] if len(found) >= count and not stops else None

        try:
            last: Message = await self.discord.until(look, 40)
        except TimeoutError:
            raise AssertionError(f"the work never ended: {self.texts(thread)}") from None
        return last

    async def told(self, interaction: Interaction) -> str:
        """What the person sees as the answer of what they did, wherever it stands."""
        await self.discord.until(lambda: alone(interaction))
        return alone(interaction)


def labels(message: Message) -> list[str]:
    """The words on a message's buttons."""
    return [str(button.get("label")) for button in message.buttons]


def alone(interaction: Interaction) -> str:
    """What only the person sees of the answers."""
    every = [*interaction.followups, *([interaction.response] if interaction.response else [])]
    return "\n".join(each.text for each in every if each.seen_only_by == interaction.user.id).strip()


@asynccontextmanager
async def lab(
    directory: Path,
    script: Mapping[str, Sequence[Any]] | None = None,
    *,
    discord: FakeDiscord,
    shards: bool = False,
    gateway: str = "",
    **project: Any,
) -> AsyncIterator[Lab]:
    """A running rdev; entered again in the same directory, on the same server, it is rdev after a restart."""
    if not (directory / "remote.git").exists():
        make_remote(directory)
    people = {"admin": [f"discord:{discord.alice.id}"], "view": [f"discord:{discord.bob.id}"]}
    with aimed(discord.api, discord.gateway, discord.cdn):
        async with ScriptedModel(load(json.dumps(script or {})), key=KEY) as model:
            data = settings(directory, model.url, **{"rights": people, **project})
            data["discord"] = {"guilds": [discord.state.guild], "api_url": discord.api, "gateway_url": discord.gateway}
            data["discord"] |= {"shards": shards, "gateway_url": gateway or discord.gateway}
            config = parse(data, directory / "rdev.toml", {"MODEL_KEY": KEY, "DISCORD_TOKEN": discord.token})
            assert config.discord is not None
            async with connected(config.discord) as connection, serving(config, [], [connection.chat]) as service:
                running = asyncio.ensure_future(connection.run(service))
                try:
                    await discord.connected()
                    yield Lab(directory, discord, service)
                finally:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
