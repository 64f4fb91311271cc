"""The fake Slack against slack-bolt itself: what a real app meets there is what Slack would give it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from fake_slack import BOT_TOKEN, FakeSlack
from slack_robot import BUTTONS, by_http, by_socket
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient
from slack_state import BOT_USER


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(retries=(0, 0.1, 0.1)) as slack:
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


@pytest.mark.parametrize("way", [by_socket, by_http])
async def test_story_reaches_bolt_and_comes_back(slack: FakeSlack, way: Any) -> None:
    async with way(slack) as robot:
        answer = await slack.command("alice", "general", "/claude", "demo <fix> & it")
        assert answer.acked
        assert slack.private("alice") == ["on it"]
        await slack.until(lambda: len(slack.messages("general")) == 2)
        root = slack.messages("general")[0]
        assert slack.seen("general", root["ts"]) == ["demo <fix> & it", "working"]
        assert root["text"] == "demo &lt;fix&gt; &amp; it"

        slack.say("bob", "general", "and now?", thread_ts=root["ts"], files=[("a.txt", b"abc")])
        slack.mention("bob", "general", "hello")
        await slack.settled()
        events = [body["event"] for body in robot.told if body["event"].get("user") != BOT_USER]
        assert {(e["type"], e.get("subtype")) for e in events} == {
            ("message", "file_share"),
            ("message", None),
            ("app_mention", None),
        }
        shared = next(e for e in events if e.get("files"))
        assert shared["thread_ts"] == root["ts"]
        assert shared["parent_user_id"] == BOT_USER
        await asyncio.sleep(1.1)  # a post a second in one channel
        asked = await robot.web.chat_postMessage(channel=root_channel(slack), text="Push?", blocks=BUTTONS)
        assert (await slack.select("bob", asked["ts"], "branch", "main")).acked
        assert (await slack.click("bob", asked["ts"], "yes")).acked
        assert robot.acts[0]["actions"][0]["selected_option"]["value"] == "m"
        assert robot.acts[1]["state"]["values"]["ask"]["branch"]["selected_option"]["value"] == "m"
        await slack.until(lambda: slack.screen("bob"))
        assert (await slack.submit_view("bob", {"words": "x"}))[1] == {"reason": "too short"}
        assert (await slack.submit_view("bob", {"words": "because"}))[1] == {}
        assert slack.screen("bob") is None
        assert (await slack.shortcut("bob", "ask", asked["ts"])).acked
        assert robot.acts[-1]["message"]["ts"] == asked["ts"]
    assert slack.breaches == []
    assert slack.limited == 0


def root_channel(slack: FakeSlack) -> str:
    return slack.space.channel("general").id


async def test_bolt_refuses_a_bad_signature_and_an_old_one(slack: FakeSlack) -> None:
    async with by_http(slack):
        body = {"type": "event_callback", "event": {"type": "message"}}
        assert (await slack.outbox.post("events_api", body, secret="wrong"))[0] == 401
        assert (await slack.outbox.post("events_api", body, age=600))[0] == 401
        assert (await slack.outbox.post("events_api", {"type": "url_verification", "challenge": "c"}))[0] == 200


async def test_event_comes_again_after_a_socket_broke(slack: FakeSlack) -> None:
    async with by_socket(slack, ping=0.3) as robot:
        slack.faults.socket_drops = 1
        slack.say("alice", "general", "hello")
        await slack.until(lambda: slack.faults.socket_drops == 0 or not slack.sockets.links)
        slack.faults.socket_drops = 0
        await slack.settled()
        kind, answer = slack.outbox.answers[0]
        assert (kind, answer.acked) == ("message", True)
        assert answer.attempts > 1
        assert slack.sockets.opened >= 2
        assert len({body["event_id"] for body in robot.told}) == 1


async def test_bolt_comes_back_after_each_kind_of_goodbye(slack: FakeSlack) -> None:
    async with by_socket(slack, ping=0.2) as robot:
        for number, reason in enumerate(("warning", "refresh_requested", "link_disabled"), 2):
            await slack.sockets.disconnect(reason, 0.05)
            await slack.until(partial(opened, slack, number))
        slack.refuse_connections(0.4)
        slack.drop_sockets()
        await slack.until(lambda: not slack.sockets.links)
        slack.say("alice", "general", "still there?")
        await slack.settled()
        assert robot.told[0]["event"]["text"] == "still there?"


def opened(slack: FakeSlack, number: int) -> bool:
    return slack.sockets.opened >= number


async def test_mute_socket_is_left_by_bolt(slack: FakeSlack) -> None:
    async with by_socket(slack, ping=0.2):
        slack.sockets.muted = True
        await slack.until(lambda: slack.sockets.opened >= 2)


async def test_command_without_an_answer_fails_after_its_deadline() -> None:
    async with FakeSlack(ack_seconds=0.2) as slack:
        answer = await slack.command("alice", "general", "/claude", "x")
        assert not answer.acked
        async with by_socket(slack) as robot:
            robot.app.command("/slow")(slow)
            assert not (await slack.command("alice", "general", "/slow")).acked


async def slow(ack: Any) -> None:
    await asyncio.sleep(0.4)
    await ack()


async def test_events_are_retried_and_given_up(slack: FakeSlack) -> None:
    seen: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Slack-Retry-Num", "first"))
        return web.Response(status=500)

    runner = web.AppRunner(application := web.Application(), access_log=None)
    application.router.add_post("/", refuse)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.outbox.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    slack.say("alice", "general", "hello")
    await slack.settled()
    await runner.cleanup()
    assert seen == ["first", "1", "2", "3"]
    assert not slack.outbox.answers[0][1].acked


async def test_updates_reactions_status_and_metadata_are_read_back(slack: FakeSlack, client: AsyncWebClient) -> None:
    channel = slack.space.channel("general").id
    mark = {"event_type": "rdev", "event_payload": {"job": "j", "seq": 3}}
    root = await client.chat_postMessage(channel=channel, text="one", metadata=mark)
    await client.chat_postMessage(channel=channel, text="two", thread_ts=root["ts"], metadata=mark)
    await client.chat_update(channel=channel, ts=root["ts"], text="changed")
    await client.reactions_add(channel=channel, timestamp=root["ts"], name="eyes")
    await client.assistant_threads_setStatus(channel_id=channel, thread_ts=root["ts"], status="is thinking…")
    assert slack.status("general", root["ts"]) == "is thinking…"
    bare = await client.conversations_replies(channel=channel, ts=root["ts"])
    assert [m.get("metadata") for m in bare["messages"]] == [None, None]
    first = await client.conversations_replies(channel=channel, ts=root["ts"], include_all_metadata=True, limit=1)
    assert [(m["text"], m["metadata"]) for m in first["messages"]] == [("changed", mark), ("two", mark)]
    assert not first["has_more"]
    assert first["messages"][0]["reactions"] == [{"name": "eyes", "users": [BOT_USER], "count": 1}]
    assert await error_of(client.reactions_add(channel=channel, timestamp=root["ts"], name="eyes")) == "already_reacted"
    await client.reactions_remove(channel=channel, timestamp=root["ts"], name="eyes")
    await client.chat_delete(channel=channel, ts=root["ts"])
    assert slack.seen("general", root["ts"]) == ["This message was deleted.", "two"]


async def test_pages_lead_through_a_thread(slack: FakeSlack, client: AsyncWebClient) -> None:
    root = slack.say("alice", "general", "root")
    replies = [slack.say("alice", "general", str(n), thread_ts=root) for n in range(5)]
    found: list[str] = []
    cursor = ""
    while True:
        page = await client.conversations_replies(channel=root_channel(slack), ts=root, limit=2, cursor=cursor or None)
        assert page["messages"][0]["ts"] == root
        found += [message["ts"] for message in page["messages"][1:]]
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert found == replies
    top = await client.conversations_history(channel=root_channel(slack))
    assert [message["ts"] for message in top["messages"]] == [root]


async def test_response_url_serves_five_times(slack: FakeSlack) -> None:
    alice = slack.space.user("alice").id
    url = slack.hub.response_url("commands", alice, slack.space.channel("general").id)
    answers = [await AsyncWebhookClient(url).send(text=str(n)) for n in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert slack.private("alice") == ["0", "1", "2", "3", "4"]
