"""What the Discord of the tests refuses, with Discord's own codes, told by the real discord.py."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import discord
import pytest
from discord import app_commands, ui
from discord.http import Route
from discord_client import Bot, Free, heard, panel, place, running
from fake_discord import FakeDiscord

Answer = Callable[[discord.Interaction[Any]], Awaitable[None]]
NOBODY = discord.AllowedMentions.none()


MESSAGES = "/channels/{channel_id}/messages"


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as discord_:
        yield discord_
        assert discord_.rest.misanswers() == []


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Bot]:
    async with running(fake) as client:
        yield client


# -- refusals ----------------------------------------------------------------------------------------------------


async def refused(awaitable: Awaitable[object]) -> tuple[int, int]:
    """The status and the code with which something is refused."""
    with pytest.raises(discord.HTTPException) as told:
        await awaitable
    return told.value.status, told.value.code


async def test_messages_out_of_bounds_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    fake.limits.buckets["POST /channels/{channel_id}/messages"] = (100, 5.0)
    channel = place(bot, fake.general)
    both = {"content": "both", "components": panel().to_components(), "flags": 1 << 15}
    long = discord.Embed(description="x" * 4000)

    assert await refused(channel.send("x" * 2001)) == (400, 50035)
    assert await refused(channel.send("  ")) == (400, 50006)
    assert await refused(channel.send(embeds=[long, long])) == (400, 50035)
    assert await refused(channel.send("x", nonce="n" * 26)) == (400, 50035)
    big = discord.File(io.BytesIO(bytes(10 * 1024 * 1024 + 1)), "big")
    assert await refused(channel.send(file=big)) == (413, 40005)
    assert await refused(channel.send(view=panel(text="x" * 4001))) == (400, 50035)
    assert await refused(channel.send(view=raw(*([{"type": 10, "content": "x"}] * 41)))) == (400, 50035)
    assert await refused(bot.http.request(Route("POST", MESSAGES, channel_id=channel.id), json=both)) == (400, 50035)
    twice = {"type": 1, "components": [{"type": 2, "style": 1, "label": "a", "custom_id": "same"}] * 2}
    assert await refused(channel.send(view=raw(twice))) == (400, 50035)
    options = [{"label": str(one), "value": str(one)} for one in range(26)]
    assert await refused(channel.send(view=raw({"type": 1, "components": [select(options)]}))) == (400, 50035)
    lost = {"type": 13, "file": {"url": "attachment://none.txt"}}
    assert await refused(channel.send(view=raw(lost))) == (400, 50035)
    assert fake.messages(fake.general) == []


def select(options: list[dict[str, str]]) -> dict[str, Any]:
    return {"type": 3, "custom_id": "s", "options": options}


def raw(*components: dict[str, Any]) -> ui.LayoutView:
    """A view that sends these components whatever the library thinks of them."""

    class Raw(ui.LayoutView):
        def to_components(self) -> list[dict[str, Any]]:
            return list(components)

        def has_components_v2(self) -> bool:
            return True

        def is_dispatchable(self) -> bool:
            return False

    return Raw()


async def test_edits_that_are_not_the_bots_to_make_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    said = fake.say(fake.alice, fake.general, "mine")
    channel = place(bot, fake.general)
    await heard(bot, 1)
    assert await refused(channel.get_partial_message(said.id).edit(content="yours")) == (403, 50005)
    assert await refused(channel.get_partial_message(1).edit(content="?")) == (404, 10008)
    card = await channel.send(view=panel())
    assert await refused(card.edit(content="words")) == (400, 50035)

    root = await channel.send("root")
    thread = await root.create_thread(name="t")
    assert await refused(
        bot.http.start_thread_with_message(channel.id, root.id, name="t", auto_archive_duration=60)
    ) == (400, 160004)
    message = await thread.send("x")
    fake.state.archive(fake.threads()[0])
    assert await refused(message.edit(content="y")) == (400, 50083)
    assert await refused(thread.edit(name="z")) == (400, 50083)
    await thread.send("back")
    await message.edit(content="y")
    fake.state.active_threads = len(fake.threads())
    assert await refused(card.create_thread(name="one too many")) == (400, 160006)
    plain = place(bot, fake.general)
    assert await refused(plain.create_thread(name="x" * 101, message=discord.Object(card.id))) == (400, 50035)


async def test_old_message_takes_five_edits_and_no_more(fake: FakeDiscord, bot: Bot) -> None:
    fake.limits.buckets["PATCH /channels/{channel_id}/messages/{message_id}"] = (100, 5.0)
    card = await place(bot, fake.general).send("0")
    fake.age(fake.general.messages[card.id], 3700)
    for count in range(5):
        await card.edit(content=str(count))

    assert await refused(card.edit(content="more")) == (429, 30046)


async def test_late_double_and_unfitting_answers_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    told: list[tuple[int, int]] = []

    async def twice(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("one")
        other = discord.InteractionResponse(interaction)
        told.append(await refused(other.send_message("two")))

    bot.answer = twice
    await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="x")
    await fake.until(lambda: any(one.code == 40060 for one in fake.requests))

    async def late(interaction: discord.Interaction[Any]) -> None:
        await asyncio.sleep(3.1)
        told.append(await refused(interaction.followup.send("too soon")))
        told.append(await refused(interaction.response.send_message("late")))

    bot.answer = late
    interaction = await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="x")
    assert interaction.failed
    await fake.until(lambda: any(one.code == 10062 for one in fake.requests))
    await asyncio.sleep(0)

    async def expired(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer()
        fake.expire(interaction.token)
        told.append(await refused(interaction.edit_original_response(content="x")))

    bot.answer = expired
    await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="x")
    await fake.until(lambda: any(one.code == 50027 for one in fake.requests))
    await asyncio.sleep(0.01)

    assert told == [(400, 40060), (404, 10015), (404, 10062), (401, 50027)]


async def test_modal_and_choices_out_of_bounds_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    told: list[tuple[int, int]] = []

    async def wide(interaction: discord.Interaction[Any]) -> None:
        modal = Free(title="x" * 46)
        told.append(await refused(interaction.response.send_modal(modal)))
        many = [app_commands.Choice(name=str(one), value=str(one)) for one in range(26)]
        autocomplete = await fake_autocomplete(interaction, many)
        told.append(autocomplete)
        await interaction.response.send_message("enough")

    async def fake_autocomplete(
        interaction: discord.Interaction[Any], many: list[app_commands.Choice[str]]
    ) -> tuple[int, int]:
        # Choices never fit a command, whatever their number.
        interaction.type = discord.InteractionType.autocomplete
        try:
            return await refused(interaction.response.autocomplete(many))
        finally:
            interaction.type = discord.InteractionType.application_command

    bot.answer = wide
    interaction = await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="x")
    assert (await fake.answered(interaction)).text == "enough"
    assert told == [(400, 50035), (400, 50035)]


async def test_revoked_permissions_are_refused_and_told(fake: FakeDiscord, bot: Bot) -> None:
    channel = place(bot, fake.general)
    fake.revoke(fake.general, "send_messages")
    assert await refused(channel.send("x")) == (403, 50013)
    fake.revoke(fake.general)
    assert await refused(channel.send("x")) == (403, 50001)
    fake.restore(fake.general)
    await channel.send("x")


async def test_commands_out_of_bounds_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    def command(**changes: Any) -> list[dict[str, Any]]:
        return [{"name": "x", "type": 1, "description": "d", **changes}]

    options = [
        {"name": "a", "type": 3, "description": "d"},
        {"name": "b", "type": 3, "description": "d", "required": True},
    ]
    for wrong in (
        command(name="Big Name"),
        command(description=""),
        command(description="x" * 101),
        command(options=options),
        command(options=[{**options[0], "name": f"o{one}"} for one in range(26)]),
        command() * 2,
    ):
        put: Any = bot.http.bulk_upsert_global_commands(fake.bot.id, wrong)
        assert await refused(put) == (400, 50035)
