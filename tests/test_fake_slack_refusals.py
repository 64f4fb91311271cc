"""What the fake Slack refuses, by the words that Slack refuses it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from fake_slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from slack_robot import BUTTONS, MODAL
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_state import TEAM, Json, User


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(enforced=False, stream_seconds=0.3, trigger_seconds=0.3, ack_seconds=0.1, retries=()) as slack:
        slack.space.channel("general")
        slack.space.users["UALICE"] = User("UALICE", "alice")
        yield slack
        assert [breach for breach in slack.breaches if breach.startswith("the fake itself")] == []


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


def section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**changes: Any) -> list[Json]:
    element = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "ok"}}
    return [{"type": "actions", "elements": [{**element, **changes}]}]


LONG_BLOCKS = [section("x" * 2900)] * 4 + [section("x" * 1500)]
MESSAGES: dict[str, tuple[Json, str]] = {
    "nothing": ({}, "no_text"),
    "both": ({"text": "a", "markdown_text": "b"}, "markdown_text_conflict"),
    "markdown": ({"markdown_text": "x" * 12_001}, "msg_too_long"),
    "51 blocks": ({"text": "t", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
    "section": ({"text": "t", "blocks": [section("x" * 3001)]}, "invalid_blocks"),
    "empty section": ({"text": "t", "blocks": [section("")]}, "invalid_blocks"),
    "header": (
        {"text": "t", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]},
        "invalid_blocks",
    ),
    "label": ({"text": "t", "blocks": button(text={"type": "plain_text", "text": "x" * 76})}, "invalid_blocks"),
    "mrkdwn label": ({"text": "t", "blocks": button(text={"type": "mrkdwn", "text": "x"})}, "invalid_blocks"),
    "action id": ({"text": "t", "blocks": button(action_id="x" * 256)}, "invalid_blocks"),
    "value": ({"text": "t", "blocks": button(value="x" * 2001)}, "invalid_blocks"),
    "26 buttons": (
        {"text": "t", "blocks": [{"type": "actions", "elements": button()[0]["elements"] * 26}]},
        "invalid_blocks",
    ),
    "unknown block": ({"text": "t", "blocks": [{"type": "carrot"}]}, "invalid_blocks"),
    "no blocks": ({"text": "t", "blocks": {"type": "divider"}}, "invalid_blocks_format"),
    "all blocks": ({"text": "t", "blocks": LONG_BLOCKS}, "msg_blocks_too_long"),
    "metadata": ({"text": "t", "metadata": {"event_payload": {}}}, "invalid_metadata_schema"),
    "thread": ({"text": "t", "thread_ts": "1.000001"}, "thread_not_found"),
}


@pytest.mark.parametrize("case", MESSAGES)
async def test_message_over_a_limit_is_refused(slack: FakeSlack, client: AsyncWebClient, case: str) -> None:
    args, error = MESSAGES[case]
    channel = slack.space.channel("general").id
    assert await error_of(client.api_call("chat.postMessage", json={"channel": channel, **args})) == error
    assert slack.messages("general") == []


async def test_long_texts_are_cut_in_posts_and_refused_in_edits(slack: FakeSlack, client: AsyncWebClient) -> None:
    channel = slack.space.channel("general").id
    posted = await client.chat_postMessage(channel=channel, text="x" * 40_001)
    assert "message_truncated" in posted["response_metadata"]["warnings"]
    assert len(slack.messages("general")[0]["text"]) == 40_000
    assert await error_of(client.chat_update(channel=channel, ts=posted["ts"], text="x" * 4_001)) == "msg_too_long"
    assert slack.breaches == ["chat.postMessage: message_truncated", "chat.update: msg_too_long"]


async def test_places_that_are_closed_refuse(slack: FakeSlack, client: AsyncWebClient) -> None:
    channel = slack.space.channel("general").id
    outside = slack.space.channel("outside", invite_bot=False).id
    hidden = slack.space.channel("hidden", private=True, invite_bot=False).id
    theirs = slack.say("alice", "general", "hi")
    ours = (await client.chat_postMessage(channel=channel, text="x"))["ts"]
    stream = await start(client, channel, theirs)
    assert await error_of(client.chat_postMessage(channel="C404", text="x")) == "channel_not_found"
    assert await error_of(client.chat_postMessage(channel=outside, text="x")) == "not_in_channel"
    assert await error_of(client.chat_postMessage(channel=hidden, text="x")) == "channel_not_found"
    assert await error_of(client.conversations_history(channel=outside)) == "not_in_channel"
    assert await error_of(client.chat_update(channel=channel, ts=theirs, text="y")) == "cant_update_message"
    assert await error_of(client.chat_delete(channel=channel, ts=theirs)) == "cant_delete_message"
    assert await error_of(client.chat_update(channel=channel, ts="1.1", text="y")) == "message_not_found"
    assert await error_of(client.conversations_replies(channel=channel, ts="1.1")) == "thread_not_found"
    assert await error_of(client.users_info(user="U404")) == "user_not_found"
    assert await error_of(client.chat_postEphemeral(channel=channel, user="U404", text="x")) == "user_not_in_channel"
    slack.archive("general")
    assert await error_of(client.chat_postMessage(channel=channel, text="x")) == "is_archived"
    assert await error_of(client.chat_update(channel=channel, ts=ours, text="y")) == "is_inactive"
    assert await error_of(client.reactions_add(channel=channel, timestamp=theirs, name="eyes")) == "is_archived"
    assert await error_of(client.chat_appendStream(channel=channel, ts=stream, markdown_text="x")) == "is_archived"


async def test_arguments_are_checked_against_the_published_methods(slack: FakeSlack, client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("chat.postMessage", json={"text": "x"})) == "invalid_arguments"
    assert await error_of(client.api_call("files.getUploadURLExternal", params={"filename": "a", "length": 0})) == (
        "invalid_arguments"
    )
    # A method that takes no JSON sees nothing of a JSON body.
    assert await error_of(client.api_call("conversations.replies", json={"channel": "C", "ts": "1"})) == (
        "invalid_arguments"
    )
    assert await error_of(client.api_call("chat.nothing")) == "unknown_method"
    channel = slack.space.channel("general").id
    await client.api_call("chat.postMessage", json={"channel": channel, "text": "x", "colour": "red"})
    assert slack.breaches[-1] == "chat.postMessage: unknown arguments colour"


async def test_tokens_open_only_their_own_doors(slack: FakeSlack, client: AsyncWebClient) -> None:
    for token, error in (("", "not_authed"), ("xoxb-other", "invalid_auth"), (APP_TOKEN, "not_allowed_token_type")):
        assert await error_of(AsyncWebClient(token=token, base_url=slack.base_url).auth_test()) == error
    assert await error_of(client.apps_connections_open(app_token=BOT_TOKEN)) == "not_allowed_token_type"
    slack.uninstall()
    assert await error_of(client.auth_test()) == "token_revoked"


async def start(client: AsyncWebClient, channel: str, thread: str, **args: Any) -> str:
    to = {"recipient_team_id": TEAM, "recipient_user_id": "UALICE", "channel": channel, "thread_ts": thread}
    return str((await client.api_call("chat.startStream", json={**to, **args}))["ts"])


@pytest.fixture
async def thread(slack: FakeSlack) -> tuple[str, str]:
    return slack.space.channel("general").id, slack.say("alice", "general", "go")


async def test_stream_shows_texts_tasks_and_blocks(
    slack: FakeSlack, client: AsyncWebClient, thread: tuple[str, str]
) -> None:
    channel, root = thread
    ts = await start(client, channel, root, chunks=[{"type": "markdown_text", "text": "Hel"}])
    busy = {"type": "task_update", "id": "t1", "title": "Tests", "status": "in_progress"}
    await client.chat_appendStream(channel=channel, ts=ts, chunks=[{"type": "markdown_text", "text": "lo <"}, busy])
    assert await error_of(client.chat_update(channel=channel, ts=ts, text="x")) == "streaming_state_conflict"
    assert await error_of(client.chat_appendStream(channel=channel, ts=ts, chunks=[])) == "no_text"
    wrong = {**busy, "status": "busy"}
    assert await error_of(client.chat_appendStream(channel=channel, ts=ts, chunks=[wrong])) == "invalid_chunks"
    long = client.chat_appendStream(channel=channel, ts=ts, markdown_text="x" * 12_001)
    assert await error_of(long) == "msg_too_long"
    other = client.chat_appendStream(channel=channel, ts=ts, markdown_text="x")
    assert await error_of(other) == "streaming_mode_mismatch"
    both = client.chat_appendStream(channel=channel, ts=ts, markdown_text="x", chunks=[busy])
    assert await error_of(both) == "cannot_provide_both_markdown_text_and_chunks"
    wordy = client.chat_appendStream(channel=channel, ts=ts, chunks=[{**busy, "details": "x" * 257}])
    assert await error_of(wordy) == "invalid_chunks"
    grown = [{"type": "markdown_text", "text": "x" * 11_994}]
    assert await error_of(client.chat_appendStream(channel=channel, ts=ts, chunks=grown)) == "msg_too_long"
    mark = {"event_type": "rdev", "event_payload": {"job": "j"}}
    done = [{**busy, "status": "complete"}]
    await client.chat_stopStream(channel=channel, ts=ts, chunks=done, blocks=button(), metadata=mark)
    last = slack.thread("general", root)[-1]
    assert slack.seen("general", root)[-1] == "Hello <\nTests\n[ok]"
    assert last["metadata"] == mark
    assert last["blocks"][1]["status"] == "complete"
    assert await error_of(client.chat_stopStream(channel=channel, ts=ts)) == "message_not_in_streaming_state"
    await client.chat_update(channel=channel, ts=ts, text="after", blocks=[section("after")])
    assert slack.seen("general", root)[-1] == "after"


async def test_stream_ends_by_time_and_by_its_reader(
    slack: FakeSlack, client: AsyncWebClient, thread: tuple[str, str]
) -> None:
    channel, root = thread
    old, stopped = await start(client, channel, root), await start(client, channel, root)
    slack.stop_stream("alice", stopped)
    assert await error_of(client.chat_appendStream(channel=channel, ts=stopped, markdown_text="x")) == "stopped_by_user"
    await asyncio.sleep(0.4)
    late = client.chat_appendStream(channel=channel, ts=old, markdown_text="x")
    assert await error_of(late) == "message_not_in_streaming_state"
    await client.chat_update(channel=channel, ts=old, text="x", blocks=[section("x")])
    for missing in ("recipient_team_id", "recipient_user_id"):
        to = {"recipient_team_id": TEAM, "recipient_user_id": "UALICE", "channel": channel, "thread_ts": root}
        del to[missing]
        assert await error_of(client.api_call("chat.startStream", json=to)) == f"missing_{missing}"


async def test_modals_need_a_fresh_trigger_and_fit(slack: FakeSlack, client: AsyncWebClient) -> None:
    alice = slack.space.user("alice").id
    trigger = slack.hub.trigger(alice)
    for wrong in ({"title": {"type": "plain_text", "text": "x" * 25}}, {"private_metadata": "x" * 3001}):
        unfit = client.views_open(trigger_id=slack.hub.trigger(alice), view={**MODAL, **wrong})
        assert await error_of(unfit) == "invalid_arguments"
    opened = await client.views_open(trigger_id=trigger, view=MODAL)
    assert await error_of(client.views_open(trigger_id=trigger, view=MODAL)) == "exchanged_trigger_id"
    assert await error_of(client.views_open(trigger_id="1.1.a", view=MODAL)) == "invalid_trigger_id"
    pushed = await client.views_push(trigger_id=slack.hub.trigger(alice, opened["view"]["id"]), view=MODAL)
    assert pushed["view"]["previous_view_id"] == opened["view"]["id"]
    stale = client.views_update(view_id=opened["view"]["id"], view=MODAL, hash="old")
    assert await error_of(stale) == "hash_conflict"
    await client.views_update(view_id=opened["view"]["id"], view=MODAL, hash=opened["view"]["hash"])
    old = slack.hub.trigger(alice)
    await asyncio.sleep(0.35)
    assert await error_of(client.views_open(trigger_id=old, view=MODAL)) == "expired_trigger_id"


async def test_files_travel_whole_and_only_with_the_token(slack: FakeSlack, client: AsyncWebClient) -> None:
    channel = slack.space.channel("general").id
    root = slack.say("alice", "general", "hi", files=[("in.bin", b"\x00\x01")])
    await client.files_upload_v2(channel=channel, thread_ts=root, content="long output", filename="out.txt")
    shared = slack.thread("general", root)[-1]
    assert slack.seen("general", root)[-1].endswith("📎 out.txt")
    assert slack.attached(shared) == {"out.txt": b"long output"}
    there = slack.thread("general", root)[0]["files"][0]["url_private_download"]
    async with aiohttp.ClientSession() as http:
        async with http.get(there) as page:
            assert (page.status, page.content_type) == (200, "text/html")
        async with http.get(there, headers={"Authorization": f"Bearer {BOT_TOKEN}"}) as whole:
            assert await whole.read() == b"\x00\x01"
        begun = await client.files_getUploadURLExternal(filename="a", length=3)
        async with http.post(begun["upload_url"], data=b"four") as wrong:
            assert wrong.status == 400
    unfinished = client.files_completeUploadExternal(files=[{"id": begun["file_id"], "title": "a"}])
    assert await error_of(unfinished) == "file_not_found"


async def test_update_with_text_alone_is_told_as_doubtful(slack: FakeSlack, client: AsyncWebClient) -> None:
    channel = slack.space.channel("general").id
    posted = await client.chat_postMessage(channel=channel, text="ask", blocks=BUTTONS)
    await client.chat_update(channel=channel, ts=posted["ts"], text="done")
    assert "without blocks" in slack.breaches[0]
