"""rdev on Slack: the real slack-bolt, the real service and sandbox, and a Slack on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_slack import FakeSlack
from slack_lab import CHANNEL, lab, until
from slack_state import Json, pings
from world import git

STORY = {
    "fix": [
        [{"say": "I look at it **first**. "}, {"tool": "Bash", "input": {"command": "echo fixed > fix.txt"}}],
        {"ask": [{"question": "Which way?", "options": ["Short", "Long"]}]},
        {"say": "It goes the way you said: $RESULT", "pace": 0.02},
    ],
    "again": [{"say": "I did it again."}],
    "slow": [{"tool": "Bash", "input": {"command": "echo half > half.txt; sleep 600"}}],
}


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


async def test_story_goes_from_a_command_to_a_push_and_a_stop(tmp_path: Path, slack: FakeSlack) -> None:
    async with lab(tmp_path, STORY, slack=slack, push="auto") as w:
        root = await w.work("fix the bug")
        ask = await w.sees(root, "• Short: Short")
        await w.press("alice", ask, "Long")
        end = await w.ended(root)
        shown = "\n".join(w.texts(root))
        assert "I look at it *first*." in shown
        assert "✓ Bash `echo fixed > fix.txt`" in shown
        assert "It goes the way you said" in shown
        assert "Long" in w.texts(root)[[m["ts"] for m in slack.thread(CHANNEL, root)].index(ask["ts"])]

        reply = slack.say("alice", CHANNEL, "again please", thread_ts=root)
        await w.sees(root, "I did it again.")
        await w.ended(root, count=2)
        assert [r["name"] for r in slack.space.find(reply)[1].get("reactions", [])] == ["eyes"]

        await w.press("alice", end, "Push")
        await w.ended(root, count=3)
        name = w.texts(root)[0].strip("*").partition("/")[2]
        assert "fix.txt" in git("ls-tree", "-r", "--name-only", f"rdev/{name}", cwd=tmp_path / "remote.git")

        slack.say("alice", CHANNEL, "slow one", thread_ts=root)
        card = await w.sees(root, "● Bash `echo half")
        await w.press("alice", card, "Stop")
        await w.ended(root, count=4)
        assert "stopped" in w.texts(root)[-1]
    assert slack.breaches == []
    assert slack.limited == 0


async def test_stranger_is_refused_everywhere_and_nothing_happens(tmp_path: Path, slack: FakeSlack) -> None:
    async with lab(tmp_path, STORY, slack=slack) as w:
        root = await w.work("fix the bug")
        ask = await w.sees(root, "• Short: Short")
        quiet = len(slack.messages(CHANNEL))

        await slack.command("mallory", CHANNEL, "/claude", "demo steal")
        await w.told("mallory", "You may not use any project here")
        slack.say("mallory", CHANNEL, "leak it", thread_ts=root)
        await slack.settled()
        await until(lambda: len(slack.private("mallory")) == 2)
        await w.press("mallory", ask, "Long")
        await w.told("mallory", "There is no ask")
        await w.press("mallory", ask, "Other…")
        await until(lambda: slack.screen("mallory"))
        _, errors = await slack.submit_view("mallory", {"text": "Short"})
        assert "There is no ask" in errors["text"]
        await slack.shortcut("mallory", "ask_claude", ask["ts"])
        await until(lambda: len(slack.private("mallory")) == 4)
        slack.mention("mallory", CHANNEL, "demo fix it")
        await slack.settled()
        await until(lambda: len(slack.private("mallory")) == 5)
        card = slack.thread(CHANNEL, root)[1]
        await w.press("mallory", card, "Stop")
        await until(lambda: len(slack.private("mallory")) == 6)

        assert slack.screen("mallory") is not None  # with its errors, until it is closed
        assert len([m for m in slack.messages(CHANNEL) if m["user"] == "U0FAKEBOT"]) == quiet
        assert not any("reactions" in message for message in slack.messages(CHANNEL))
        assert len(await w.service.context.store.jobs(project="demo")) == 1
        assert [a.id for a in await w.service.context.store.open_asks("demo")]
    assert slack.breaches == []


async def test_runner_may_not_approve_a_push(tmp_path: Path, slack: FakeSlack) -> None:
    script = {"fix": [{"tool": "Bash", "input": {"command": "echo fixed > fix.txt"}}, {"say": "Done."}]}
    async with lab(tmp_path, script, slack=slack, push="ask") as w:
        root = await w.work("fix the bug", user="bob")
        ask = await w.sees(root, "[no]")
        end = await w.ended(root)
        await w.press("bob", ask, "push")
        await w.told("bob", "may not answer for demo; ask")
        await w.press("bob", end, "Push")
        await until(lambda: len(slack.private("bob")) >= 2)
        assert git("branch", "--list", "rdev/*", cwd=tmp_path / "remote.git") == ""

        await w.press("alice", ask, "push")
        await w.sees(root, "▲ pushed")
    assert slack.breaches == []


async def test_own_words_and_several_choices_answer_questions(tmp_path: Path, slack: FakeSlack) -> None:
    many = {"ask": [{"question": "Which ones?", "options": ["Red", "Green", "Blue"]}], "multiple": True}
    script = {
        "colours": [many, {"say": "First: $RESULT"}],
        "shape": [{"ask": [{"question": "Which shape?", "options": ["A", "B"]}]}, {"say": "Then: $RESULT"}],
    }
    async with lab(tmp_path, script, slack=slack) as w:
        root = await w.work("colours")
        ask = await w.sees(root, "• Red: Red")
        pick = next(each for each in actions(ask) if "pick" in each)
        await w.press("alice", ask, "Answer")
        await w.told("alice", "Choose first")
        await slack.select("alice", ask["ts"], pick, "Red", "Blue")
        await w.press("alice", ask, "Answer")
        await w.sees(root, '"Red, Blue"')
        await w.ended(root)

        other = await w.work("shape")
        ask = await w.sees(other, "• A: A")
        await w.press("alice", ask, "Other…")
        await until(lambda: slack.screen("alice"))
        await slack.submit_view("alice", {"text": "A circle"})
        await w.sees(other, "A circle")
        await w.ended(other)
    assert slack.breaches == []


async def test_message_that_comes_again_runs_once(tmp_path: Path, slack: FakeSlack) -> None:
    slack.faults.repeats = 1
    async with lab(tmp_path, {"go": [{"say": "Gone."}]}, slack=slack) as w:
        root = slack.mention("alice", CHANNEL, "go there")
        await w.ended(root)
        slack.mention("alice", CHANNEL, "go again", thread_ts=root)
        await w.ended(root, count=2)
        slack.say("alice", CHANNEL, "!status", thread_ts=root)
        await w.told("alice", "box running")
        await slack.settled()
        assert len(await w.service.context.store.jobs(project="demo")) == 2
    async with lab(tmp_path, {}, slack=slack) as w:
        payload = next(m for m in slack.messages(CHANNEL) if m["ts"] == root)
        slack.hub.emit({**payload, "type": "app_mention", "channel": slack.space.channel(CHANNEL).id})
        await slack.settled()
        assert len(await w.service.context.store.jobs(project="demo")) == 2
    assert slack.breaches == []


async def test_signed_http_serves_as_well_and_refuses_the_unsigned(tmp_path: Path, unused_tcp_port: int) -> None:
    endpoint = f"http://127.0.0.1:{unused_tcp_port}/slack/events"
    async with FakeSlack(endpoint=endpoint) as slack, lab(tmp_path, STORY, slack=slack, http=True) as w:
        root = await w.work("again")
        end = await w.ended(root)
        await w.press("alice", end, "Rewind")
        await until(lambda: slack.screen("alice"))
        await until(lambda: "before j" in str(slack.screen("alice")))
        _, errors = await slack.submit_view("alice", {"text": "99"})
        assert errors["text"]
        status, _, _ = await slack.outbox.post("slash_commands", {"command": "/claude", "text": "x"}, secret="wrong")
        assert status == 401
        assert slack.breaches == []


async def test_hostile_output_is_whole_harmless_and_within_limits(tmp_path: Path, slack: FakeSlack) -> None:
    nasty = (
        (
            "<!channel> <!here> @everyone <@U123> <https://evil.example|https://good.example> &lt;!channel&gt; "
            "[good](https://evil.example) ```unclosed\n| a | b |\n\x00\u202e\ud83d\udc4d <!subteam^S1> *b* _i_ ~s~ "
        )
        .encode("utf-16", "surrogatepass")
        .decode("utf-16")
    )
    long = "&<>" * 400 + "\n" + "".join(f"row {n} <!channel>\n" for n in range(15_000))
    script = {"nasty": [{"say": nasty}], "long": [{"say": long, "chunk": 6_000}]}
    async with lab(tmp_path, script, slack=slack) as w:
        root = await w.work("nasty <!channel> @here")
        await w.ended(root)
        shown = "\n".join(w.texts(root))
        assert "<!channel> <!here> @everyone <@U123>" in shown
        assert "good (https://evil.example)" in shown
        other = await w.work("long")
        end = await w.ended(other, timeout=90)
        files = [file for message in slack.thread(CHANNEL, other) for file in message.get("files") or ()]
        assert len(files) == 1
        whole = slack.space.files[files[0]["id"]].data
        assert whole is not None
        assert long.rstrip() in whole.decode()
        assert end["ts"] == slack.thread(CHANNEL, other)[-1]["ts"]
        for message in slack.messages(CHANNEL):
            alice = slack.space.user("alice").id
            assert set(pings(message)) <= {f"@{alice}"}
        calls = [call for call in slack.calls if call.method.startswith(("chat.", "files.", "upload"))]
        assert len([c for c in calls if c.args.get("thread_ts") == other or c.method.startswith("files")]) <= 12
    assert slack.breaches == []
    assert slack.limited == 0


def actions(message: Json) -> list[str]:
    """What can be pressed or chosen on a message."""
    return [e["action_id"] for block in message["blocks"] for e in block.get("elements", ()) if "action_id" in e]


async def test_work_goes_on_where_nobody_can_be_shown_it(tmp_path: Path, slack: FakeSlack) -> None:
    script = {"work": [{"tool": "Bash", "input": {"command": "echo a; sleep 2; echo b"}}, {"say": "Did it."}]}
    async with lab(tmp_path, script, slack=slack) as w:
        root = slack.mention("alice", "archived", "work here")
        await until(lambda: len(slack.thread("archived", root)) >= 2)
        slack.archive("archived")
        store = w.service.context.store
        (job,) = await store.jobs(project="demo")
        while not job.state.terminal:
            await store.wait_beyond(job.id, job.seq)
            job = await store.job(job.id) or job
        assert job.state == "succeeded"
        await until(lambda: not [task for task in asyncio.all_tasks() if job.id in task.get_name()])
        assert await store.deliveries(job=job.id, done=False) == []
        assert len([c for c in slack.calls if c.error]) == 1


async def test_channel_without_the_bot_is_told_to_invite_it(tmp_path: Path, slack: FakeSlack) -> None:
    slack.space.channel("lonely", invite_bot=False)
    async with lab(tmp_path, STORY, slack=slack) as w:
        await slack.command("alice", "lonely", "/claude", "demo again")
        await w.told("alice", "/invite @rdev")
        assert await w.service.context.store.jobs(project="demo") == []


async def test_post_that_somebody_deleted_stays_away_and_the_rest_comes(tmp_path: Path, slack: FakeSlack) -> None:
    script = {"work": [{"say": "One. " * 200, "pace": 0.05}, {"say": "The end."}]}
    async with lab(tmp_path, script, slack=slack) as w:
        root = await w.work("work")
        post = await w.sees(root, "One.")
        slack.delete_message(post["ts"])
        await w.sees(root, "✓ done")
        await slack.settled()
        assert not any("One." in text for text in w.texts(root))
    assert slack.breaches == []


async def test_direct_message_is_work_with_the_one_project(tmp_path: Path, slack: FakeSlack) -> None:
    async with lab(tmp_path, STORY, slack=slack):
        direct = slack.space.direct("alice")
        root = slack.say("alice", direct.id, "again please")
        await until(lambda: any("I did it again." in text for text in slack.seen(direct.id, root)))
        await until(lambda: any("[Push]" in text for text in slack.seen(direct.id, root)))
    assert slack.breaches == []


async def test_bot_ignores_itself_edits_and_talk_outside_its_threads(tmp_path: Path, slack: FakeSlack) -> None:
    async with lab(tmp_path, STORY, slack=slack) as w:
        elsewhere = slack.say("alice", CHANNEL, "lunch?")
        slack.say("bob", CHANNEL, "yes", thread_ts=elsewhere)
        root = await w.work("again")
        await w.ended(root)
        mine = slack.say("alice", CHANNEL, "thanks", thread_ts=elsewhere)
        slack.edit_message(mine, "thanks a lot")
        await slack.settled()
        assert len(await w.service.context.store.jobs(project="demo")) == 1
        assert slack.private("alice") == ["It goes on in <" + slack.space.base + "/archives/"
            + f"{slack.space.channel(CHANNEL).id}/p{root.replace('.', '')}|its thread>."]  # fmt: skip
        assert slack.private("bob") == []
    assert slack.breaches == []


async def test_long_diff_comes_as_a_file_and_a_table_to_one_person_alone(tmp_path: Path, slack: FakeSlack) -> None:
    script = {"write": [{"tool": "Bash", "input": {"command": "seq 3000 > numbers.txt"}}, {"say": "Written."}]}
    async with lab(tmp_path, script, slack=slack) as w:
        root = await w.work("write them")
        end = await w.ended(root)
        await w.press("alice", end, "Diff")
        shown = await w.sees(root, "reply.txt")
        data = slack.space.files[shown["files"][0]["id"]].data
        assert data is not None
        assert "\n+2999\n" in data.decode()
        await slack.command("alice", CHANNEL, "/rdev", "help")
        assert "/rdev rewind" in await w.told("alice", "/rdev sessions")
        slack.say("alice", CHANNEL, "!help stop", thread_ts=root)
        await w.told("alice", "/rdev stop [project|session|job] [--purge]")
    assert slack.breaches == []
