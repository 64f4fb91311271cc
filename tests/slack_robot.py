"""A slack-bolt app for tests, connected to the fake Slack by socket or by signed HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from fake_slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_outbox import SECRET
from slack_sdk.web.async_client import AsyncWebClient
from slack_state import Json

BUTTONS: list[Json] = [
    {"type": "section", "block_id": "text", "text": {"type": "mrkdwn", "text": "Push?"}},
    {
        "type": "actions",
        "block_id": "ask",
        "elements": [
            {"type": "button", "action_id": "yes", "value": "1", "text": {"type": "plain_text", "text": "Push"}},
            {
                "type": "static_select",
                "action_id": "branch",
                "options": [{"text": {"type": "plain_text", "text": "main"}, "value": "m"}],
            },
        ],
    },
]
MODAL: Json = {
    "type": "modal",
    "callback_id": "why",
    "title": {"type": "plain_text", "text": "Why?"},
    "submit": {"type": "plain_text", "text": "Go"},
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": {"type": "plain_text", "text": "Reason"},
            "element": {"type": "plain_text_input", "action_id": "words"},
        }
    ],
}


class Robot:
    """A bolt app that answers as a test wants, and keeps what it was told."""

    def __init__(self, slack: FakeSlack) -> None:
        self.web = AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)
        self.app = AsyncApp(client=self.web, signing_secret=SECRET)
        self.told: list[Json] = []
        self.acts: list[Json] = []
        self.app.event("message")(self._event)
        self.app.event("app_mention")(self._event)
        self.app.event("message_stream_stopped")(self._event)
        self.app.command("/claude")(self._command)
        self.app.action("yes")(self._open)
        self.app.action("branch")(self._act)
        self.app.view("why")(self._submitted)
        self.app.shortcut("ask")(self._act)

    async def _event(self, body: Json) -> None:
        self.told.append(body)

    async def _command(self, ack: Any, body: Json, client: AsyncWebClient) -> None:
        await ack(text="on it")
        posted = await client.chat_postMessage(channel=body["channel_id"], text=body["text"])
        await client.chat_postMessage(channel=body["channel_id"], thread_ts=posted["ts"], text="working")

    async def _act(self, ack: Any, body: Json) -> None:
        self.acts.append(body)
        await ack()

    async def _open(self, ack: Any, body: Json, client: AsyncWebClient) -> None:
        self.acts.append(body)
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)

    async def _submitted(self, ack: Any, body: Json) -> None:
        words = body["view"]["state"]["values"]["reason"]["words"]["value"]
        self.acts.append(body)
        await (ack(response_action="errors", errors={"reason": "too short"}) if words == "x" else ack())


@asynccontextmanager
async def by_socket(slack: FakeSlack, ping: float = 2) -> AsyncIterator[Robot]:
    robot = Robot(slack)
    client = AsyncWebClient(token=APP_TOKEN, base_url=slack.base_url)
    handler = AsyncSocketModeHandler(robot.app, APP_TOKEN, web_client=client, ping_interval=ping)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await slack.connected()
    try:
        yield robot
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def by_http(slack: FakeSlack) -> AsyncIterator[Robot]:
    robot = Robot(slack)
    runner = web.AppRunner(robot.app.web_app("/slack/events"), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.outbox.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield robot
    finally:
        await runner.cleanup()
