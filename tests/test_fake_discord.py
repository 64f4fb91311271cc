"""The Discord of the tests, asked by the real discord.py: it serves what Discord serves and refuses what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import discord
import pytest
from discord import ui
from discord_client import Bot, Free, Sharded, heard, panel, place, running
from discord_compression import compressor
from discord_faults import Fault, Faults
from discord_state import State
from fake_discord import FakeDiscord, Interaction, NotOffered, Upload

Answer = Callable[[discord.Interaction[Any]], Awaitable[None]]
NOBODY = discord.AllowedMentions.none()


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as discord_:
        yield discord_
        assert discord_.rest.misanswers() == []


@pytest.fixture
async def bot(fake: FakeDiscord) -> AsyncIterator[Bot]:
    async with running(fake) as client:
        yield client


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


async def test_faults_of_all_kinds_lose_and_double_nothing_when_a_nonce_is_kept(fake: FakeDiscord, bot: Bot) -> None:
    fake.faults.rates = {429: 0.2, "cut": 0.3}
    fake.faults.delay, fake.faults.retry_after = 0.01, 0.02
    fake.limits.buckets["POST /channels/{channel_id}/messages"] = (1000, 5.0)
    for count in range(40):
        for _ in range(20):
            with suppress(aiohttp.ClientError):
                await place(bot, fake.general).send(str(count), nonce=f"n{count}")
                break
    fake.faults.calm()

    assert [one.text for one in fake.messages(fake.general)] == [str(count) for count in range(40)]
    assert sum(one.injected for one in fake.requests) > 10


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


def sent(op: int, **data: Any) -> str:
    return json.dumps({"op": op, "d": data})


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([sent(3)], 4003),
        ([sent(99)], 4001),
        (["{"], 4002),
        ([sent(1, filler="x" * 4096)], 4002),
        ([sent(2, token="wrong", intents=0)], 4004),
        ([sent(2, token="TOKEN", intents=-1)], 4013),
        ([sent(2, token="TOKEN", intents=2)], 4014),
        ([sent(2, token="TOKEN", intents=0, shard=[1, 1])], 4010),
        ([sent(2, token="TOKEN", intents=0)] * 2, 4005),
        ([sent(6, token="TOKEN", session_id="SESSION", seq=99)], 4007),
        ([sent(1)] * 121, 4008),
        ([], 4009),
    ],
)
async def test_gateway_closes_on_what_it_does_not_allow(frames: list[str], code: int) -> None:
    async with FakeDiscord(beat=0.2) as fake, aiohttp.ClientSession() as session:
        async with session.ws_connect(fake.gateway) as first:
            await first.send_str(sent(2, token=fake.token, intents=0))
            await fake.until(lambda: fake.gate.sessions)
            known = next(iter(fake.gate.sessions))
            fake.drop()
        async with session.ws_connect(fake.gateway) as socket:
            for frame in frames:
                await socket.send_str(frame.replace("TOKEN", fake.token).replace("SESSION", known))
            async for _ in socket:
                pass

        assert socket.close_code == code


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program to read the stream")
def test_zstd_stream_is_one_frame_with_every_message_in_it() -> None:
    frame = compressor("zstd-stream")
    messages = [b"first", b"x" * 300_000, b"last"]
    stream = b"".join(map(frame, messages)) + b"\x01\0\0"  # a last block, that the program may end

    assert subprocess.run(["zstd", "-dc"], input=stream, capture_output=True, check=True).stdout == b"".join(messages)


async def test_request_of_another_shape_than_published_is_a_violation(fake: FakeDiscord, bot: Bot) -> None:
    await bot.http.request(
        discord.http.Route("POST", "/channels/{channel_id}/messages", channel_id=fake.general.id),
        json={"content": "x", "flags": "4096"},
    )

    assert len(fake.rest.violations()) == 1
    assert "$.flags" in fake.rest.violations()[0]


def test_same_seed_brings_the_same_faults() -> None:
    def drawn() -> list[tuple[Fault, int]]:
        faults = Faults(seed=7, rates={429: 0.2, 502: 0.2, "cut": 0.1}, delay=0.1, repeat=0.3)
        return [(faults.of("GET /x"), faults.repeats()) for _ in range(200)]

    assert drawn() == drawn()
    assert {fault.status for fault, _ in drawn()} == {0, 429, 502, "cut"}


def test_state_waits_without_asking_again_and_again() -> None:
    async def story() -> int:
        state, asked = State(), [0]

        def look() -> bool:
            asked.append(len(asked))
            return len(asked) > 2

        waiting = asyncio.create_task(state.until(look))
        await asyncio.sleep(0.05)
        assert len(asked) == 2
        state.changed()
        await waiting
        return len(asked)

    assert asyncio.run(story()) == 3


def test_interaction_fails_when_nobody_answers() -> None:
    state = State()
    interaction = Interaction(1, "t", 2, state.users["alice"], state.add_channel("x"), {}, time.time() - 3.1)

    assert interaction.failed
