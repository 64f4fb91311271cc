"""The Discord of the tests, asked by the real discord.py: it serves what Discord serves and refuses what it refuses."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import discord
import pytest
from discord import app_commands, ui
from discord_aim import aimed
from discord_compression import compressor
from discord_faults import Faults
from discord_nouns import Channel
from discord_state import State
from fake_discord import FakeDiscord, Interaction, NotOffered, Upload

Answer = Callable[[discord.Interaction[Any]], Awaitable[None]]
NOBODY = discord.AllowedMentions.none()


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


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as discord_:
        yield discord_


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Bot]:
    async with running(fake) as client:
        yield client


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


# -- the ordinary way --------------------------------------------------------------------------------------------


async def test_client_logs_in_and_finds_its_guild_and_commands(fake: FakeDiscord, bot: Bot) -> None:
    assert bot.user is not None
    assert bot.user.id == fake.bot.id
    assert {one.name for one in bot.guilds[0].text_channels} == {"general", "dev"}
    assert [one["name"] for one in fake.state.commands[0]] == ["claude", "rdev", "Ask Claude about this"]
    assert fake.rest.violations() == []


async def test_slash_is_deferred_and_followed_up(fake: FakeDiscord, bot: Bot) -> None:
    async def answer(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.edit_original_response(content=" for ".join(interaction.extras["said"]))
        await interaction.followup.send("and more")

    bot.answer = answer
    interaction = await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="fix it")

    assert (await fake.answered(interaction)).text == "demo for fix it"
    await fake.until(lambda: interaction.followups)
    assert [one.text for one in fake.messages(fake.general)] == ["demo for fix it", "and more"]
    assert 0 <= interaction.ack_after < 1
    assert fake.rest.violations() == []


async def test_first_followup_takes_the_place_of_the_loading_message(fake: FakeDiscord, bot: Bot) -> None:
    async def answer(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.followup.send("done")

    bot.answer = answer
    interaction = await fake.slash(fake.alice, fake.general, "claude", project="demo", prompt="fix it")
    await fake.answered(interaction)

    assert [one.text for one in fake.messages(fake.general)] == ["done"]


async def test_subcommand_menu_entry_and_autocomplete_reach_the_client(fake: FakeDiscord, bot: Bot) -> None:
    stop = await fake.slash(fake.alice, fake.general, "rdev stop")
    note = fake.say(fake.bob, fake.general, "it is broken")
    about = await fake.message_command(fake.alice, note, "Ask Claude about this")

    assert (await fake.answered(stop)).text == "stopped"
    assert (await fake.answered(about)).text == "about: it is broken"
    assert about.response is not None
    assert about.response not in fake.messages(fake.general)
    assert await fake.autocomplete(fake.alice, fake.general, "claude", "project", "do") == ["docs"]
    assert bot.heard == ["it is broken"]


async def test_people_cannot_send_what_their_discord_would_not_let_them(fake: FakeDiscord, bot: Bot) -> None:
    for name, given in (("claude", {"project": "demo"}), ("nothing", {}), ("rdev", {}), ("claude", {"x": "y"})):
        with pytest.raises(NotOffered):
            await fake.slash(fake.alice, fake.general, name, **given)
    message = await place(bot, fake.general).send("no buttons")
    with pytest.raises(NotOffered):
        await fake.click(fake.alice, fake.general.messages[message.id], "Stop")


async def test_thread_is_made_from_a_message_written_in_edited_and_archived(fake: FakeDiscord, bot: Bot) -> None:
    root = await place(bot, fake.general).send("root", nonce="n1")
    thread = await root.create_thread(name="work", auto_archive_duration=10080)
    message = await thread.send("one")
    await message.edit(content="two")
    fake.say(fake.alice, fake.threads()[0], "hello")
    await heard(bot, 1)
    assert bot.heard == ["hello"]

    shown = fake.messages(fake.threads()[0])
    assert thread.id == root.id
    assert [(one.kind, one.text) for one in shown] == [(21, ""), (0, "two"), (0, "hello")]
    assert [text for _, text in shown[1].edits] == ["one", "two"]
    assert [one.id async for one in thread.history(limit=2)] == [shown[2].id, shown[1].id]
    assert [one.id async for one in thread.history(after=shown[0], limit=1)] == [message.id]
    assert [one.id for one in await bot.guilds[0].active_threads()] == [thread.id]

    await thread.edit(archived=True)
    assert fake.threads()[0].archived
    fake.say(fake.alice, fake.threads()[0], "again")
    assert not fake.threads()[0].archived
    assert fake.rest.violations() == []
    assert fake.rest.refused() == []


async def test_thread_without_a_message_and_a_deleted_one_are_told(fake: FakeDiscord, bot: Bot) -> None:
    gone = asyncio.Event()

    @bot.event
    async def on_raw_thread_delete(payload: discord.RawThreadDeleteEvent) -> None:
        assert payload.thread_id == thread.id
        gone.set()

    thread = await place(bot, fake.general).create_thread(name="alone", type=discord.ChannelType.public_thread)
    fake.delete_thread(fake.threads()[0])
    await asyncio.wait_for(gone.wait(), 5)

    with pytest.raises(discord.NotFound) as told:
        await thread.send("anybody?")
    assert told.value.code == 10003


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


async def test_buttons_selects_and_modals_of_a_component_message_work(fake: FakeDiscord, bot: Bot) -> None:
    @bot.event
    async def on_interaction(interaction: discord.Interaction[Any]) -> None:
        data: Any = interaction.data
        match data.get("custom_id"):
            case "stop:1":
                await interaction.response.send_modal(Free())
            case "pick:1":
                await interaction.response.edit_message(view=panel(text="chose " + " and ".join(data["values"])))

    sent = await place(bot, fake.general).send(view=panel())
    message = fake.general.messages[sent.id]
    assert message.text == "status"
    assert message.content == ""

    pressed = await fake.click(fake.alice, message, "Stop")
    assert pressed.modal is not None
    with pytest.raises(NotOffered):
        await fake.submit_modal(pressed, {"reason": "x" * 21})
    submitted = await fake.submit_modal(pressed, {"reason": "it is late"})
    assert (await fake.answered(submitted)).text == "because it is late"

    chosen = await fake.select(fake.bob, message, "pick:1", ["a", "c"])
    assert chosen.acknowledged == 7
    assert message.text == "chose a and c"
    assert fake.rest.violations() == []


async def test_attachments_go_both_ways(fake: FakeDiscord, bot: Bot) -> None:
    sent = await place(bot, fake.general).send("log", file=discord.File(io.BytesIO(b"\0 out"), "out.txt"))
    view = ui.LayoutView()
    view.add_item(ui.File("attachment://diff.txt"))
    shown = await place(bot, fake.general).send(view=view, file=discord.File(io.BytesIO(b"+1"), "diff.txt"))
    fake.say(fake.alice, fake.general, "see", [Upload("in.png", b"\x89PNG")])
    await heard(bot, 1)

    assert [one.data for one in fake.general.messages[sent.id].files] == [b"\0 out"]
    assert [one.name for one in fake.general.messages[shown.id].files] == ["diff.txt"]
    assert await sent.attachments[0].read() == b"\0 out"
    assert await bot.seen[-1].attachments[0].read() == b"\x89PNG"
    await sent.edit(attachments=[])
    assert fake.general.messages[sent.id].files == []
    assert fake.rest.violations() == []


async def test_mentions_notify_only_as_far_as_allowed(fake: FakeDiscord, bot: Bot) -> None:
    channel = place(bot, fake.general)
    loud = await channel.send(f"@everyone <@{fake.bob.id}>")
    meek = await channel.send(f"@everyone <@{fake.bob.id}>", allowed_mentions=NOBODY, silent=True)

    assert fake.general.messages[loud.id].mention_everyone
    assert fake.general.messages[loud.id].mentions == [fake.bob]
    assert not fake.general.messages[meek.id].mention_everyone
    assert fake.general.messages[meek.id].mentions == []
    assert fake.general.messages[meek.id].silent


async def test_reactions_edits_and_typing_are_seen(fake: FakeDiscord, bot: Bot) -> None:
    seen: asyncio.Queue[object] = asyncio.Queue()

    @bot.event
    async def on_raw_reaction_add(payload: discord.RawReactionActionEvent) -> None:
        await seen.put((payload.user_id, str(payload.emoji)))

    @bot.event
    async def on_message_edit(_: discord.Message, after: discord.Message) -> None:
        await seen.put(after.content)

    said = fake.say(fake.alice, fake.general, "first")
    await heard(bot, 1)
    await bot.seen[-1].add_reaction("👀")
    assert await asyncio.wait_for(seen.get(), 5) == (fake.bot.id, "👀")
    fake.react(fake.bob, said, "👍")
    assert await asyncio.wait_for(seen.get(), 5) == (fake.bob.id, "👍")
    fake.edit(fake.alice, said, "second")
    assert await asyncio.wait_for(seen.get(), 5) == "second"
    async with place(bot, fake.general).typing():
        pass
    await bot.seen[-1].remove_reaction("👀", discord.Object(fake.bot.id))
    assert said.reactions == {"👍": [fake.bob.id]}
    assert fake.rest.violations() == []


# -- limits ------------------------------------------------------------------------------------------------------


async def test_429_is_waited_for_and_nothing_is_lost(fake: FakeDiscord, bot: Bot) -> None:
    fake.faults.order("POST /channels/{channel_id}/messages", 429, times=2)
    began = time.monotonic()
    await place(bot, fake.general).send("patience")

    assert time.monotonic() - began >= 2 * fake.faults.retry_after
    assert [one.text for one in fake.messages(fake.general)] == ["patience"]
    assert fake.rest.count(429) == 2
    assert fake.rest.over() == []


async def test_client_that_reads_the_headers_stays_within_its_buckets(fake: FakeDiscord, bot: Bot) -> None:
    fake.limits.buckets["POST /channels/{channel_id}/messages"] = (3, 0.3)
    fake.limits.buckets["PATCH /channels/{channel_id}/messages/{message_id}"] = (3, 0.3)
    message = await place(bot, fake.dev).send("0")
    for count in range(8):
        await message.edit(content=str(count))
    await asyncio.gather(*(place(bot, fake.general).send(str(count)) for count in range(6)))

    assert len(fake.messages(fake.general)) == 6
    assert fake.rest.count(429) == 0


async def test_request_over_a_bucket_is_refused_and_counted(fake: FakeDiscord) -> None:
    url = f"{fake.api}/channels/{fake.general.id}/messages"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {fake.token}"}) as session:
        for _ in range(6):
            async with session.post(url, json={"content": "x"}) as response:
                last, headers = await response.json(), response.headers

    assert response.status == 429
    assert 4.5 < last["retry_after"] <= 5
    assert headers["Via"]
    assert headers["X-RateLimit-Scope"] == "user"
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("5", "0")
    assert [one.over for one in fake.requests] == [False] * 5 + [True]
    assert len(fake.messages(fake.general)) == 5


async def test_global_limit_refuses_the_fifty_first_request_of_a_second(fake: FakeDiscord) -> None:
    headers = {"Authorization": f"Bot {fake.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        statuses = []
        for count in range(52):
            channel = fake.state.add_channel(f"c{count}")
            async with session.get(f"{fake.api}/channels/{channel.id}") as response:
                statuses.append(response.status)
                last = await response.json()

    assert statuses == [200] * 50 + [429] * 2
    assert last["global"] is True
    assert fake.limits.peak == 50


async def test_lost_answer_does_not_double_a_message(fake: FakeDiscord, bot: Bot) -> None:
    fake.faults.order("POST /channels/{channel_id}/messages", 502, after=True)
    await place(bot, fake.general).send("once")

    assert [one.text for one in fake.messages(fake.general)] == ["once"]
    assert fake.rest.count(502) == 1


# -- the gateway -------------------------------------------------------------------------------------------------


async def test_resume_after_a_drop_loses_nothing(fake: FakeDiscord, bot: Bot) -> None:
    fake.say(fake.alice, fake.general, "before")
    fake.drop()
    for count in range(20):
        fake.say(fake.alice, fake.general, f"while away {count}")
    await heard(bot, 21)

    assert bot.heard == ["before", *(f"while away {count}" for count in range(20))]
    assert len(fake.gate.resumes) == 1
    assert len(fake.gate.identifies) == 1


async def test_reconnect_and_invalid_sessions_are_survived(fake: FakeDiscord, bot: Bot) -> None:
    fake.reconnect()
    await fake.until(lambda: len(fake.gate.resumes) == 1)
    await fake.connected()
    fake.invalidate()
    await fake.until(lambda: len(fake.gate.identifies) == 2, 15)
    await fake.connected()
    fake.say(fake.alice, fake.general, "still there?")
    await heard(bot, 1)

    assert bot.heard == ["still there?"]


@pytest.mark.parametrize("code", [1000, 4000, 4009])
async def test_close_codes_are_survived(fake: FakeDiscord, bot: Bot, code: int) -> None:
    await fake.close_gateway(code)
    await fake.until(lambda: len(fake.gate.connects) == 2)
    await fake.connected()
    fake.say(fake.alice, fake.general, "hello")
    await heard(bot, 1)


async def test_intent_that_is_not_granted_ends_the_client() -> None:
    async with FakeDiscord(privileged=0) as fake:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            async with running(fake):
                raise AssertionError("the client was let in")
        assert fake.gate.closed_with == [4014]


async def test_client_without_the_content_intent_reads_nothing_of_others(fake: FakeDiscord) -> None:
    async with running(fake, Bot(intents=discord.Intents.default())) as bot:
        fake.say(fake.alice, fake.general, "private")
        fake.say(fake.alice, fake.general, f"<@{fake.bot.id}> for you")
        await heard(bot, 2)

        assert bot.heard == ["", f"<@{fake.bot.id}> for you"]


async def test_wrong_token_is_refused(fake: FakeDiscord) -> None:
    fake.rest.token = "another"
    with pytest.raises(discord.LoginFailure):
        async with running(fake):
            raise AssertionError("the client was let in")


async def test_sharded_client_gets_its_guild(fake: FakeDiscord) -> None:
    fake.state.shards = 2
    client = Sharded(intents=discord.Intents.default(), guild_ready_timeout=0)
    async with running(fake, client):
        assert [one.id for one in client.guilds] == [fake.state.guild]
    assert sorted(one["shard"][0] for one in fake.gate.identifies) == [0, 1]


async def test_bot_that_was_kicked_sees_nothing_more(fake: FakeDiscord, bot: Bot) -> None:
    channel = place(bot, fake.general)
    gone = asyncio.create_task(bot.wait_for("guild_remove"))
    await asyncio.sleep(0)
    fake.kick_bot()
    await asyncio.wait_for(gone, 5)

    with pytest.raises(discord.Forbidden) as told:
        await channel.send("hello?")
    assert told.value.code == 50001


async def test_server_that_is_down_is_found_again(fake: FakeDiscord, bot: Bot) -> None:
    async with fake.down():
        fake.say(fake.alice, fake.general, "meanwhile")
        with pytest.raises(aiohttp.ClientError):
            await place(bot, fake.general).send("anyone?")
    await heard(bot, 1)

    assert bot.heard == ["meanwhile"]


async def test_events_come_twice_when_told_to(fake: FakeDiscord, bot: Bot) -> None:
    fake.faults.repeat = 1.0
    fake.say(fake.alice, fake.general, "echo")
    await heard(bot, 2)

    assert bot.heard == ["echo", "echo"]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program to read the stream")
def test_zstd_stream_is_one_frame_with_every_message_in_it() -> None:
    frame = compressor("zstd-stream")
    messages = [b"first", b"x" * 300_000, b"last"]
    stream = b"".join(map(frame, messages)) + b"\x01\0\0"  # a last block, that the program may end

    assert subprocess.run(["zstd", "-dc"], input=stream, capture_output=True, check=True).stdout == b"".join(messages)


# -- refusals ----------------------------------------------------------------------------------------------------


async def refused(awaitable: Awaitable[object]) -> tuple[int, int]:
    """The status and the code with which something is refused."""
    with pytest.raises(discord.HTTPException) as told:
        await awaitable
    return told.value.status, told.value.code


async def test_messages_out_of_bounds_are_refused(fake: FakeDiscord, bot: Bot) -> None:
    fake.limits.buckets["POST /channels/{channel_id}/messages"] = (100, 5.0)
    channel = place(bot, fake.general)
    long = discord.Embed(description="x" * 4000)

    assert await refused(channel.send("x" * 2001)) == (400, 50035)
    assert await refused(channel.send("  ")) == (400, 50006)
    assert await refused(channel.send(embeds=[long, long])) == (400, 50035)
    assert await refused(channel.send("x", nonce="n" * 26)) == (400, 50035)
    big = discord.File(io.BytesIO(bytes(10 * 1024 * 1024 + 1)), "big")
    assert await refused(channel.send(file=big)) == (413, 40005)
    assert await refused(channel.send(view=panel(text="x" * 4001))) == (400, 50035)
    assert await refused(channel.send(view=raw(*([{"type": 10, "content": "x"}] * 41)))) == (400, 50035)
    assert await refused(channel.send("both", view=panel())) == (400, 50035)
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


async def test_request_of_another_shape_than_published_is_a_violation(fake: FakeDiscord, bot: Bot) -> None:
    await bot.http.request(
        discord.http.Route("POST", "/channels/{channel_id}/messages", channel_id=fake.general.id),
        json={"content": "x", "flags": "4096"},
    )

    assert len(fake.rest.violations()) == 1
    assert "$.flags" in fake.rest.violations()[0]


def test_same_seed_brings_the_same_faults() -> None:
    def drawn() -> list[object]:
        faults = Faults(seed=7, rates={429: 0.2, 502: 0.2, "cut": 0.1}, delay=0.1, repeat=0.3)
        return [(faults.of("GET /x"), faults.repeats()) for _ in range(200)]

    assert drawn() == drawn()
    assert {getattr(fault, "status", None) for fault, _ in drawn()} == {0, 429, 502, "cut"}  # type: ignore[misc]


def test_state_waits_without_asking_again_and_again() -> None:
    async def story() -> int:
        state, asked = State(), []
        waiting = asyncio.create_task(state.until(lambda: asked.append(1) or len(asked) > 1))
        await asyncio.sleep(0.05)
        assert len(asked) == 1
        state.changed()
        await waiting
        return len(asked)

    assert asyncio.run(story()) == 2


def test_interaction_fails_when_nobody_answers() -> None:
    state = State()
    interaction = Interaction(1, "t", 2, state.users["alice"], state.add_channel("x"), {}, time.time() - 3.1)

    assert interaction.failed
