"""rdev on Discord: the real client, the real service and sandbox, and a Discord on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from discord_commands import check_commands
from discord_lab import lab, labels
from fake_discord import FakeDiscord
from world import git

from adapters import discord_render as render
from adapters.discord_commands import line, registered
from bot.commands import COMMANDS
from bot.model import Entry
from bot.posts import Fold
from bot.service import Message
from executor.events import Accepted, AskRaised

STORY = {
    "fix": [
        [{"say": "I look at it **first**. "}, {"tool": "Bash", "input": {"command": "echo fixed > fix.txt"}}],
        {"ask": [{"question": "Which way?", "options": ["Short", "Long"]}]},
        {"say": "It goes the way you said: $RESULT", "pace": 0.02},
    ],
    "again": [{"say": "I did it again."}],
}


def test_every_command_of_the_table_is_registered_and_read_back() -> None:
    check_commands(registered())
    below = {option["name"] for option in registered()[3]["options"]}
    assert {f"rdev {name}" for name in below} | {each["name"] for each in registered()[:3]} == {
        command.name for command in COMMANDS
    }
    given = {"project": "demo --plan", "prompt": "do --model x", "model": "opus y", "plan": True}
    options = [{"name": name, "type": 3, "value": value} for name, value in given.items()]
    assert line({"name": "claude", "options": options}) == "/claude demo---plan --model opus-y --plan do --model x"
    inner = {"type": 1, "name": "rewind", "options": [{"name": "checkpoint", "type": 4, "value": 3}]}
    assert line({"name": "rdev", "options": [inner]}) == "/rdev rewind 3"


def test_asked_command_is_shown_as_it_is_and_whole() -> None:
    command = "echo ||hidden|| [x](http://y) ``` discord:80351110224678912" + "é" * 5000
    fold = Fold(render.LIMIT)
    asked = AskRaised("a1", "permission", "Bash?", command, ("Allow", "Deny"))
    fold.feed([Entry("j1", 1, 0.0, Accepted("discord:80351110224678912", "claude", "x")), Entry("j1", 2, 0.0, asked)])
    post = fold.posts()[-1]
    assert len(render.said(post)) <= 4000
    assert "```\necho ||hidden|| [x](http://y)" in render.said(post)
    assert "discord:80351110224678912" in render.said(post)
    assert post.file == command


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    """A Discord; what a test asked of it is checked against the published document at the end."""
    async with FakeDiscord() as server:
        yield server
        assert server.rest.violations() == []


async def test_story_goes_from_a_command_to_a_push(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="auto") as w:
        thread = await w.work("fix the bug")
        assert thread.archive_minutes == 10080
        ask = await w.sees(thread, "Which way?")
        assert labels(ask)[:2] == ["Short", "Long"]
        await server.click(server.alice, ask, "Long")
        await w.sees(thread, "It goes the way you said")
        end = await w.ended(thread)
        shown = "\n".join(w.texts(thread))
        assert "I look at it **first**." in shown
        assert "✓ Bash `echo fixed > fix.txt`" in shown
        assert "Long" in ask.text
        assert not ask.buttons

        written = server.say(server.alice, thread, "again please")
        await w.sees(thread, "I did it again.")
        await w.ended(thread, count=2)
        assert "👀" in written.reactions

        await server.click(server.alice, end, "Push")
        await w.sees(thread, "pushed")
        assert "fix.txt" in git(
            "ls-tree", "-r", "--name-only", f"rdev/{thread.name.split('/')[1]}", cwd=tmp_path / "remote.git"
        )
        assert not [each for each in server.requests if each.over or each.status >= 400]


async def test_stranger_is_refused_everywhere_and_nothing_happens(tmp_path: Path, server: FakeDiscord) -> None:
    carol = server.state.add_user("carol")
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        refused = await server.slash(carol, server.general, "claude", project="demo", prompt="fix it")
        assert "You may not use any project here" in await w.told(refused)
        viewer = await server.slash(server.bob, server.general, "claude", project="demo", prompt="fix it")
        assert f"ask <@{server.alice.id}>" in await w.told(viewer)
        assert (server.threads(), server.messages(server.general)) == ([], [])
        assert await server.autocomplete(carol, server.general, "claude", "project", "d") == []
        assert await server.autocomplete(server.bob, server.general, "claude", "project", "d") == []
        assert await server.autocomplete(server.bob, server.general, "rdev status", "project", "d") == ["demo"]
        assert await server.autocomplete(server.alice, server.general, "claude", "project", "d") == ["demo"]

        thread = await w.work("fix the bug")
        ask = await w.sees(thread, "Which way?")
        for person in (server.bob, carol):
            clicked = await server.click(person, ask, "Long")
            await w.told(clicked)
            form = await server.click(person, ask, "In your own words…")
            written = await server.submit_modal(form, {"answer": "Neither"})
            await w.told(written)
            reply = server.say(person, thread, "again please")
            await w.sees(thread, "may not run anything" if person is server.bob else "Nothing goes on here")
            assert not reply.reactions
        assert labels(ask)[:2] == ["Short", "Long"]
        stop = next(each for each in server.messages(thread) if "Stop" in labels(each))
        assert "may not" in await w.told(await server.click(server.bob, stop, "Stop"))
        asked = await server.message_command(carol, ask, "Ask Claude about this")
        assert asked.modal is None
        assert "may not" in await w.told(asked)

        await server.click(server.alice, ask, "Short")
        end = await w.ended(thread)
        assert "may not" in await w.told(await server.click(server.bob, end, "Push"))
        assert (await w.told(await server.click(carol, end, "Diff"))).startswith("Which session?")
        assert "pushed" not in "\n".join(w.texts(thread))


async def test_second_answer_and_own_words_are_told_apart(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server) as w:
        thread = await w.work("fix the bug")
        ask = await w.sees(thread, "Which way?")
        form = await server.click(server.alice, ask, "In your own words…")
        late = await server.click(server.alice, ask, "In your own words…")
        await server.submit_modal(form, {"answer": "Through the middle"})
        assert "has answered this already" in await w.told(await server.submit_modal(late, {"answer": "Left"}))
        await w.sees(thread, "Through the middle")
        await w.ended(thread)


async def test_buttons_of_the_result_show_continue_and_rewind(tmp_path: Path, server: FakeDiscord) -> None:
    script = {"write": [{"tool": "Bash", "input": {"command": "echo x > made.txt"}}], "continue": [{"say": "On it."}]}
    async with lab(tmp_path, script, discord=server) as w:
        thread = await w.work("write it")
        end = await w.ended(thread)
        assert "made.txt" in await w.told(await server.click(server.alice, end, "Diff"))
        listed = await server.click(server.alice, end, "Rewind")
        shown = await server.answered(listed)
        number = shown.selects[0]["options"][0]["value"]
        chosen = await server.select(server.alice, shown, "rdev:rewind", [number])
        assert "The files are as they were" in await w.told(chosen)
        await server.click(server.alice, end, "Continue")
        await w.sees(thread, "On it.")
        await w.ended(thread, count=2)


async def test_stop_button_stops(tmp_path: Path, server: FakeDiscord) -> None:
    script = {"wait": [{"tool": "Bash", "input": {"command": "tail -f /dev/null"}}]}
    async with lab(tmp_path, script, discord=server) as w:
        thread = await w.work("wait for it")
        card = await w.sees(thread, "● Bash")
        assert "Stopped" in await w.told(await server.click(server.alice, card, "Stop"))
        end = await w.ended(thread)
        assert f"stopped by <@{server.alice.id}>" in end.text


async def test_message_becomes_work_by_its_menu(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, {"explain": [{"say": "I explain."}]}, discord=server) as w:
        said = server.say(server.bob, server.general, "The login page is broken since Tuesday.")
        form = await server.message_command(server.alice, said, "Ask Claude about this")
        await server.submit_modal(form, {"project": ["demo"], "prompt": "explain this"})
        await server.until(server.threads)
        thread = server.threads()[0]
        await w.sees(thread, "I explain.")
        await w.ended(thread)
        assert "login page is broken" in w.texts(thread)[1]


HOSTILE = (
    "@everyone @here <@{alice}> <@&1> <!channel> [click](http://evil.example.org) ||hidden|| \u202eright\u202c\x00 "
    "```\nfence without an end "
)


async def test_hostile_output_mentions_nobody_and_comes_whole(tmp_path: Path, server: FakeDiscord) -> None:
    text = HOSTILE.format(alice=server.alice.id) + "\n\n" + "\n".join(f"| row {n} | 😀 |" for n in range(20_000))
    assert len(text) > 300_000
    async with lab(tmp_path, {"flood": [{"say": text, "chunk": 4000}]}, discord=server) as w:
        before = len(server.requests)
        thread = await w.work("flood it")
        await w.ended(thread)
        shown = server.messages(thread)
        whole = b"".join(file.data for message in shown for file in message.files).decode()
        assert all(f"| row {n} |" in whole for n in range(20_000))
        assert whole.startswith("@everyone")
        assert not any(message.mention_everyone or message.mention_roles for message in shown)
        assert {user.id for message in shown for user in message.mentions} <= {server.alice.id}
        assert all(not message.mentions for message in shown if message.silent)
        refused = [each.name for each in server.requests if each.status >= 400]
        assert refused == []
        assert len(server.requests) - before <= 20


async def test_gateway_that_is_down_at_start_is_waited_for(
    tmp_path: Path, server: FakeDiscord, unused_tcp_port: int
) -> None:
    """discord.py 2.7.1 gives up with an AttributeError there, and has to be started again."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", int(server.api.split(":")[2].split("/")[0]))
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)
        await asyncio.gather(back.wait_closed(), writer.wait_closed(), return_exceptions=True)
        over.set()

    async def come_up() -> asyncio.Server:
        await server.until(lambda: sum(each.name == "GET /users/@me" for each in server.requests) >= 2, 20)
        return await asyncio.start_server(forward, "127.0.0.1", unused_tcp_port)

    over = asyncio.Event()
    coming = asyncio.create_task(come_up())
    gateway = f"ws://127.0.0.1:{unused_tcp_port}/gateway/"
    async with lab(tmp_path, {"hello": [{"say": "Hello."}]}, discord=server, gateway=gateway) as w:
        thread = await w.work("hello there")
        await w.sees(thread, "Hello.")
    (await coming).close()
    await asyncio.wait_for(over.wait(), 10)


async def test_lost_connections_and_answers_are_survived(tmp_path: Path, server: FakeDiscord) -> None:
    server.faults.order("GET /users/@me", 503)
    async with lab(tmp_path, {"hello": [{"say": "Hello."}]}, discord=server, shards=True) as w:
        thread = await w.work("hello there")
        await w.sees(thread, "Hello.")
        async with server.down():
            pass
        server.faults.order("POST /channels/{channel_id}/messages", 502, after=True)
        server.faults.order("PATCH /channels/{channel_id}/messages/{message_id}", "cut")
        await w.ended(thread)
        await server.connected(30)
        server.say(server.alice, thread, "hello again")
        await w.ended(thread, count=2)
        assert [text.splitlines()[0] for text in w.texts(thread)[1:]].count("Hello.") == 2


async def test_faults_of_every_kind_lose_and_double_nothing(tmp_path: Path, server: FakeDiscord) -> None:
    server.faults.repeat = 0.3
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        server.faults.rates = {429: 0.05, 502: 0.05, "cut": 0.05}
        threads = [await w.work("again please") for _ in range(3)]
        ends = [await w.ended(thread) for thread in threads]
        server.faults.calm()
        for thread, end in zip(threads, ends, strict=True):
            texts = [text for text in w.texts(thread) if text]
            assert [text.count("I did it again.") for text in texts] == [0, 1, 0]
            assert texts[-1] == end.text
        jobs = await w.service.context.store.jobs()
        assert len(jobs) == 3
        assert not [each for each in server.requests if each.over]


async def test_deleted_thread_and_removed_bot_end_nothing_but_the_showing(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        thread = await w.work("fix the bug")
        ask = await w.sees(thread, "Which way?")
        await server.click(server.alice, ask, "Long")
        server.delete_thread(thread)
        (job,) = await w.service.context.store.jobs()
        await w.service.context.deliveries.shown(job.id)
        other = await w.work("fix the other bug")
        await w.sees(other, "Which way?")
        server.kick_bot()
        stop = Message("1", "discord", str(other.id), f"discord:{server.alice.id}", "/rdev stop")
        assert (await w.service.handle(stop)).text.startswith("Stopped")
        newest, _ = await w.service.context.store.jobs()
        await w.service.context.deliveries.shown(newest.id)
        assert await w.service.context.store.deliveries() == []


async def test_archived_thread_is_opened_for_an_edit(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        thread = await w.work("fix the bug")
        ask = await w.sees(thread, "Which way?")
        server.state.archive(thread)
        await w.service.answer(ask.buttons[0]["custom_id"].split(":")[2], "Long", f"discord:{server.alice.id}")
        await w.ended(thread)
        assert "Long" in ask.text


async def test_reply_that_was_written_while_rdev_was_away_is_read_once(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        thread = await w.work("again please")
        await w.ended(thread)
        await w.service.context.deliveries.shown((await w.service.context.store.jobs())[0].id)
    server.say(server.alice, thread, "again, while nobody looks")
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        await w.ended(thread, count=2)
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        server.say(server.alice, thread, "again, now")
        await w.ended(thread, count=3)
        assert len(await w.service.context.store.jobs()) == 3


async def test_text_that_discord_does_not_take_comes_as_a_file(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="never") as w:
        thread = await w.work("again please")
        card = await w.sees(thread, "again please")
        server.faults.order("POST /channels/{channel_id}/messages", 400)
        server.faults.order("PATCH /channels/{channel_id}/messages/{message_id}", 400)
        await w.ended(thread)
        shown = [*w.texts(thread), *(file.data.decode() for each in server.messages(thread) for file in each.files)]
        assert sum("I did it again." in each for each in shown) == 1
        assert card.text
