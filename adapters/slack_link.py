"""The connection to a workspace: Socket Mode, or signed requests over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web as http
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack import SlackChat
from adapters.slack_acts import Interactions
from adapters.slack_api import Budgets, Refused, call
from adapters.slack_inbound import Inbound
from adapters.slack_messages import Messages
from adapters.slack_replies import Replies
from adapters.slack_workspace import Workspace
from bot.board import HoldBack
from bot.config_chat import Slack as Settings
from bot.config_secrets import Secret
from bot.errors import ThreadGone, UserError
from bot.serve import Connection
from bot.service import Service

log = logging.getLogger(__name__)

PATH = "/slack/events"
_TIMEOUT_SECONDS = 30
_AGAIN = (0.5, 2, 10, 30)
"""Seconds between attempts to reach Slack at the start; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the workspace is reached: with an app token by Socket Mode, else over HTTP at an address of ours."""

    bot_token: str
    app_token: str = ""
    signing_secret: str = ""
    host: str = "127.0.0.1"
    port: int = 3000
    api_url: str = "https://slack.com/api/"
    ping_seconds: float = 10


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Slack as `rdev serve` runs it."""
    host, _, port = settings.listen.rpartition(":")
    signed = settings.signing_secret
    access = Access(
        _told(settings.bot_token),
        "" if signed else _told(settings.app_token),
        _told(signed) if signed else "",
        host=host.strip("[]"),
        port=int(port),
        api_url=settings.api_url,
    )
    async with Slack.open(access) as slack:
        yield Connection(slack.chat, slack.run)


def _told(secret: Secret) -> str:
    if secret.value is None:
        raise UserError(f"Nothing is in {secret.source}, which [slack] needs; rdev setup slack tells how.")
    return secret.value.get_secret_value()


class Slack:
    """A workspace's two directions: `chat` shows, `run` takes in; both share one client and its budgets."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._access = access
        # The client's own repeats would post twice what was posted when its answer was lost.
        self._web = AsyncWebClient(access.bot_token, access.api_url, session=session, retry_handlers=[])
        self._budgets = Budgets()
        self.chat = SlackChat(self._web, self._budgets)

    @classmethod
    @asynccontextmanager
    async def open(cls, access: Access) -> AsyncIterator[Slack]:
        """The workspace, with its connections for requests; nothing is sent yet."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield cls(access, session)

    async def run(self, service: Service) -> None:
        """Take in what people write and press, until cancelled.

        Raises UserError where Slack will never let us in.
        """
        known = await self._known()
        bot, url = str(known["user_id"]), str(known.get("url", ""))
        workspace = Workspace(service, self._web, self._budgets, self.chat, bot, url)
        replies = Replies(workspace)
        async with Inbound(Messages(workspace, replies), Interactions(workspace, replies), replies) as inbound:
            await self._connect(inbound)

    async def _known(self) -> dict[str, Any]:
        """Who we are there; waits for a Slack that cannot be reached."""
        attempt = 0
        while True:
            try:
                return await call(self._web.auth_test())
            except ThreadGone as error:
                raise UserError(f"Slack does not let us in: {error}. Look at slack.bot_token.") from error
            except Refused as error:
                if error.error in ("invalid_auth", "not_authed", "not_allowed_token_type"):
                    raise UserError(f"Slack says {error.error}. Look at slack.bot_token.") from error
                log.warning("Slack answers %s", error)
            except (HoldBack, aiohttp.ClientError, TimeoutError) as error:
                log.warning("Slack cannot be reached: %s", error)
            await asyncio.sleep(_AGAIN[min(attempt, len(_AGAIN) - 1)])
            attempt += 1

    async def _connect(self, inbound: Inbound) -> None:
        access = self._access
        app = AsyncApp(client=self._web, signing_secret=access.signing_secret or "none", name="rdev")

        # As a middleware, not as listeners: bolt acknowledges an event before its listener has begun, and what is
        # acknowledged does not come again when we are killed.
        @app.middleware
        async def door(body: dict[str, Any]) -> BoltResponse:
            return await inbound.door(body)

        async with self._socket(app) if access.app_token else self._listening(app):
            await asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def _socket(self, app: AsyncApp) -> AsyncIterator[None]:
        access = self._access
        client = AsyncWebClient(access.app_token, access.api_url)
        handler = AsyncSocketModeHandler(app, access.app_token, web_client=client, ping_interval=access.ping_seconds)
        try:
            await handler.connect_async()  # type: ignore[no-untyped-call]
            yield
        finally:
            await handler.close_async()  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def _listening(self, app: AsyncApp) -> AsyncIterator[None]:
        async def take(request: http.Request) -> http.Response:
            return await to_aiohttp_response(await app.async_dispatch(await to_bolt_request(request)))

        application = http.Application()
        application.router.add_post(PATH, take)
        runner = http.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await http.TCPSite(runner, self._access.host, self._access.port).start()
            yield
        finally:
            await runner.cleanup()
