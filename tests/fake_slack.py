"""A Slack workspace on loopback for real clients: Web API, Socket Mode and signed HTTP, refusing what Slack refuses.

async with FakeSlack() as slack:
    web = AsyncWebClient(token=BOT_TOKEN, base_url=slack.base_url)
    handler = AsyncSocketModeHandler(app, APP_TOKEN, web_client=AsyncWebClient(token=APP_TOKEN, base_url=…))
    await slack.command("alice", "general", "/claude", "demo fix it")
    slack.thread("general", ts)  # what people see there
    assert slack.breaches == []  # nothing over a documented limit, no argument that is not one
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import slack_spec
from aiohttp import web
from slack_faults import Faults
from slack_hub import Hub, wire
from slack_limits import Rates
from slack_outbox import Outbox
from slack_people import People
from slack_socket import Sockets
from slack_state import Json, Workspace, seen
from slack_web import Call, Web

BOT_TOKEN, APP_TOKEN = "xoxb-fake", "xapp-fake"


class FakeSlack(People):
    """One workspace and its servers; `minute` is how many seconds the minute of its rate limits lasts."""

    def __init__(
        self,
        *,
        seed: int = 1,
        minute: float = 60,
        rates: dict[str, int] | None = None,
        enforced: bool = True,
        stream_seconds: float = 306,
        trigger_seconds: float = 3,
        ack_seconds: float = 3,
        retries: tuple[float, ...] = (0, 60, 300),
        endpoint: str = "",
    ) -> None:
        self.faults = Faults(seed)
        self.space = Workspace()
        self.sockets = Sockets(self.faults, self.space.pulse)
        self.outbox = Outbox(self.space, self.sockets, self.faults, endpoint, ack_seconds=ack_seconds, retries=retries)
        self.hub = Hub(self.space, self.outbox.event, stream_seconds=stream_seconds, trigger_seconds=trigger_seconds)
        self.rates = Rates(slack_spec.tiers(), minute, only=rates or {}, enforced=enforced)
        tokens = {BOT_TOKEN: "bot", APP_TOKEN: "app"}
        self.web = Web(self.hub, self.rates, self.faults, self.sockets, tokens)

    async def __aenter__(self) -> Self:
        # A long answer travels in one request: no limit below Slack's own.
        application = web.Application(client_max_size=64 * 2**20)
        application.add_routes(self.web.routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.space.base = self.sockets.base = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.outbox.close()
        self.sockets.drop()
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """The Web API's address, for AsyncWebClient."""
        return f"{self.space.base}/api/"

    @property
    def calls(self) -> list[Call]:
        """Every request of the app, in order."""
        return self.web.calls

    @property
    def breaches(self) -> list[str]:
        """Every request over a documented limit or not by the documents, in a sentence each."""
        return self.hub.breaches

    @property
    def limited(self) -> int:
        """Answers of 429 that were earned (those of injected faults are not)."""
        return sum(call.status == 429 and not call.fault for call in self.calls)

    def calls_of(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]

    def messages(self, channel: str) -> list[Json]:
        """Every message of the channel, threads included, oldest first."""
        return [wire(message, metadata=True) for message in self.space.channel(channel).messages.values()]

    def thread(self, channel: str, ts: str) -> list[Json]:
        """The thread's messages with their metadata, the root first."""
        return [wire(message, metadata=True) for message in self.space.channel(channel).thread(ts)]

    def seen(self, channel: str, ts: str) -> list[str]:
        """The thread as a person reads it: one text for each message."""
        return [seen(message) for message in self.thread(channel, ts)]

    def attached(self, message: Json) -> dict[str, bytes]:
        """The files of that message, by name."""
        files = [self.space.files[file["id"]] for file in message.get("files") or []]
        return {file.name: file.data or b"" for file in files}

    def private(self, user: str) -> list[str]:
        """What that user alone was shown, as they read it."""
        return [seen(e.message) for e in self.space.ephemerals if e.user == self.space.user(user).id]

    def status(self, channel: str, ts: str) -> str:
        """The assistant's status that the thread shows now; "" for none or when it ran out."""
        shown = self.space.statuses.get((self.space.channel(channel).id, ts))
        alive = shown is not None and shown["until"] > asyncio.get_running_loop().time()
        return str(shown["status"]) if shown is not None and alive else ""

    async def connected(self, sockets: int = 1, seconds: float = 10) -> None:
        """Return when the app holds that many sockets."""
        await self.sockets.wait_for(sockets, seconds)

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Return when the condition holds; looked at whenever something happened here."""
        await self.space.pulse.until(condition, seconds)

    async def settled(self, seconds: float = 10) -> None:
        """Return when the app has acknowledged every event, or Slack gave up on it."""
        await self.outbox.settled(seconds)

    def drop_sockets(self) -> None:
        """Cut every socket of the app."""
        self.sockets.drop()

    def refuse_connections(self, seconds: float) -> None:
        """Refuse every connection and request for that long; sockets that are open stay."""
        self.faults.refuse(seconds)

    def uninstall(self) -> None:
        """Remove the app from the workspace: its tokens are revoked, and it is told so."""
        self.web.revoked.update(self.web.tokens)
        self.hub.emit({"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["U0FAKEBOT"]}})
        self.hub.emit({"type": "app_uninstalled"})
