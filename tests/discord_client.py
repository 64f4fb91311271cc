"""A real discord.py client for the tests, whose commands and buttons answer as each test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import discord
from discord import app_commands, ui
from discord_aim import aimed
from discord_nouns import Channel
from fake_discord import FakeDiscord

Answer = Callable[[discord.Interaction[Any]], Awaitable[None]]


class Bot(discord.Client):
    """A real client whose commands and buttons answer as each test says."""

    def __init__(self, **options: Any) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=options.pop("intents", intents), guild_ready_timeout=0, **options)
        self.tree = app_commands.CommandTree(self)
        self.answer: Answer = respond
        self.heard: list[str] = []
        self.seen: list[discord.Message] = []
        self.news = asyncio.Event()

        @self.tree.command(name="claude", description="Ask Claude")
        @app_commands.autocomplete(project=propose)
        async def claude(interaction: discord.Interaction[Any], project: str, prompt: str) -> None:
            interaction.extras["said"] = (project, prompt)
            await self.answer(interaction)

        @self.tree.context_menu(name="Ask Claude about this")
        async def about(interaction: discord.Interaction[Any], message: discord.Message) -> None:
            await interaction.response.send_message(f"about: {message.content}", ephemeral=True)

        group = app_commands.Group(name="rdev", description="rdev")

        @group.command(name="stop", description="Stop the job")
        async def stop(interaction: discord.Interaction[Any]) -> None:
            await interaction.response.send_message("stopped")

        self.tree.add_command(group)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait five seconds before every IDENTIFY but the first."""

    async def on_message(self, message: discord.Message) -> None:
        self.seen.append(message)
        if message.author != self.user:
            self.heard.append(message.content)
            self.news.set()


class Sharded(discord.AutoShardedClient):
    """A client of several connections, as impatient."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait."""


async def propose(_: discord.Interaction[Any], typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in ("demo", "docs", "pantheon") if typed in name]


async def respond(interaction: discord.Interaction[Any]) -> None:
    await interaction.response.send_message("here")


@asynccontextmanager
async def running(fake: FakeDiscord, bot: discord.Client | None = None) -> AsyncIterator[Any]:
    """A client that is logged in and has its guild."""
    with aimed(fake.api, fake.gateway, fake.cdn):
        client = bot or Bot()
        task = asyncio.create_task(client.start(fake.token))
        ready = asyncio.create_task(client.wait_until_ready())
        try:
            await asyncio.wait({task, ready}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            assert ready.done()
            yield client
        finally:
            ready.cancel()
            await client.close()
            with suppress(Exception):
                await task


def place(bot: Bot, channel: Channel) -> discord.TextChannel:
    found = bot.get_channel(channel.id)
    assert isinstance(found, discord.TextChannel)
    return found


async def heard(bot: Bot, count: int) -> None:
    """Wait until the client has heard so many messages of others."""
    async with asyncio.timeout(20):
        while len(bot.heard) < count:
            bot.news.clear()
            await bot.news.wait()


def panel(*, text: str = "status") -> ui.LayoutView:
    """A view of components alone, with a button and a select."""
    view = ui.LayoutView(timeout=None)
    stop: ui.Button[Any] = ui.Button(label="Stop", custom_id="stop:1", style=discord.ButtonStyle.danger)
    pick: ui.Select[Any] = ui.Select(custom_id="pick:1", options=[discord.SelectOption(label=one) for one in "abc"])
    pick.max_values = 2
    view.add_item(ui.Container(ui.TextDisplay(text), ui.ActionRow(stop), ui.ActionRow(pick)))
    return view


class Free(ui.Modal, title="Why?"):
    """A modal with one field."""

    reason: ui.Label[Any] = ui.Label(text="Reason", component=ui.TextInput(custom_id="reason", max_length=20))

    async def on_submit(self, interaction: discord.Interaction[Any]) -> None:
        assert isinstance(self.reason.component, ui.TextInput)
        await interaction.response.send_message(f"because {self.reason.component.value}")
