"""A Discord on loopback that speaks the gateway and REST, and refuses what Discord refuses."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import discord_application
import discord_channels
import discord_interactions
import discord_threads
from aiohttp import web
from discord_commands import NotOffered
from discord_faults import Faults
from discord_gateway import CONTENT, Gateway
from discord_limits import Limits
from discord_nouns import Channel, Interaction, Message, Upload, User
from discord_people import People
from discord_rest import Request, Rest
from discord_state import State

__all__ = ["FakeDiscord", "Interaction", "Message", "NotOffered", "Request", "Upload"]

ROUTES = discord_application.ROUTES | discord_channels.ROUTES | discord_threads.ROUTES | discord_interactions.ROUTES


class FakeDiscord(People):
    """One guild with `general` and `dev`, `alice` (its owner) and `bob`, served while entered.

    `rest` has the record of the requests, `gate` the gateway, `faults` what goes wrong, `limits` the buckets.
    """

    def __init__(
        self,
        *,
        faults: Faults | None = None,
        limits: Limits | None = None,
        privileged: int = CONTENT,
        beat: float = 41.25,
    ) -> None:
        super().__init__(State())
        self.token = f"fake-discord-token-{secrets.token_hex(8)}"
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.general = self.state.add_channel("general")
        self.dev = self.state.add_channel("dev")
        self.rest = Rest(self.state, self.token, self.limits, self.faults)
        self.gate = Gateway(self.state, self.token, self.faults, beat, privileged)
        self.state.emit = self.gate.emit
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        self.rest.install(app, ROUTES)
        app.router.add_get("/gateway/", self.gate.connect)
        app.router.add_get("/gateway", self.gate.connect)
        app.router.add_get("/cdn/attachments/{channel}/{id}/{name}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        self.gate.url = self.state.gateway = self.gateway
        self.state.cdn = self.cdn
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        self._hang_up()
        await self._runner.cleanup()

    async def _listen(self) -> None:
        assert self._runner is not None
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._runner.server, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    def _hang_up(self) -> None:
        """Stop listening, and cut every connection."""
        assert self._runner is not None
        assert self._runner.server is not None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _file(self, request: web.Request) -> web.Response:
        file = self.state.files.get(int(request.match_info["id"]))
        if file is None:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=file.data, content_type=file.media_type)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v10"

    @property
    def gateway(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway/"

    @property
    def cdn(self) -> str:
        return f"http://127.0.0.1:{self._port}/cdn"

    # -- what a test looks at ------------------------------------------------------------------------------------

    @property
    def alice(self) -> User:
        return self.state.users["alice"]

    @property
    def bob(self) -> User:
        return self.state.users["bob"]

    @property
    def bot(self) -> User:
        return self.state.bot

    @property
    def requests(self) -> list[Request]:
        return self.rest.requests

    def messages(self, channel: Channel) -> list[Message]:
        """What a channel or thread shows, oldest first."""
        return sorted(channel.messages.values(), key=lambda one: one.id)

    def threads(self) -> list[Channel]:
        """All threads, oldest first."""
        return sorted((one for one in self.state.channels.values() if one.parent), key=lambda one: one.id)

    async def until(self, look: Callable[[], Any], timeout: float = 10) -> Any:
        """Wait until `look` finds something, and return it; it is asked again after every change here."""
        return await self.state.until(look, timeout)

    async def connected(self, timeout: float = 10) -> None:
        """Wait until a client is there and has its guild."""
        await self.until(lambda: any(one.line and one.guild for one in self.gate.sessions.values()), timeout)

    # -- what happens to the connection --------------------------------------------------------------------------

    def drop(self, *, resumable: bool = True) -> None:
        """Cut the gateway connections; the sessions stay for a RESUME, or do not."""
        if not resumable:
            self.gate.sessions.clear()
        for line in list(self.gate.lines):
            line.abort()

    def reconnect(self) -> None:
        """Ask the clients to reconnect (op 7)."""
        for line in self.gate.lines:
            line.op(7)

    def invalidate(self, *, resumable: bool = False) -> None:
        """Tell the clients that their session is no longer valid (op 9)."""
        for line in list(self.gate.lines):
            if not resumable:
                self.gate.forget(line)
            line.op(9, resumable)

    async def close_gateway(self, code: int) -> None:
        """Close the gateway connections with a code."""
        for line in list(self.gate.lines):
            await line.socket.close(code=code)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Refuse all connections while entered, after having cut those there are."""
        self._hang_up()
        try:
            yield
        finally:
            await self._listen()
