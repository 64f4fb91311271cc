"""Socket Mode: sockets, envelopes and their acknowledgements."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from slack_faults import Faults
from slack_pulse import Pulse
from slack_state import APP, Json

MOST = 10


class Lost(Exception):
    """The socket went away before the envelope was acknowledged."""


@dataclass(eq=False)
class Link:
    """One socket of the app, and the envelopes it has not acknowledged."""

    ws: web.WebSocketResponse
    request: web.Request
    pending: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    leaving: bool = False

    def abort(self) -> None:
        """Cut the connection, with no goodbye."""
        self.leaving = True
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass
class Sockets:
    """The sockets that the app holds open."""

    faults: Faults
    pulse: Pulse
    base: str = ""
    muted: bool = False
    links: list[Link] = field(default_factory=list)
    opened: int = 0
    late_acks: list[Json] = field(default_factory=list)
    _tickets: dict[str, float] = field(default_factory=dict)

    def ticket(self) -> str:
        """The address of one connection; good once, for half a minute."""
        ticket = secrets.token_hex(8)
        self._tickets[ticket] = time.monotonic()
        return f"{self.base.replace('http', 'ws', 1)}/link/?ticket={ticket}&app_id={APP}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        issued = self._tickets.pop(request.query.get("ticket", ""), 0)
        if time.monotonic() - issued > 30:
            return web.json_response({"ok": False, "error": "invalid_auth"}, status=403)
        link = Link(web.WebSocketResponse(autoping=False), request)
        await link.ws.prepare(request)
        if len(self.links) >= MOST:
            await link.ws.send_json({"type": "disconnect", "reason": "too_many_websockets", "debug_info": {}})
            await link.ws.close()
            return link.ws
        await self._hello(link)
        try:
            async for message in link.ws:
                if message.type == WSMsgType.PING and not self.muted:
                    await link.ws.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    self._ack(link, json.loads(message.data))
        finally:
            self._gone(link)
        return link.ws

    async def _hello(self, link: Link) -> None:
        debug = {"host": "applink", "build_number": 1, "approximate_connection_time": 18060}
        hello = {"type": "hello", "num_connections": len(self.links) + 1, "debug_info": debug}
        await link.ws.send_json({**hello, "connection_info": {"app_id": APP}})
        self.links.append(link)
        self.opened += 1
        self.pulse.beat()

    def _gone(self, link: Link) -> None:
        if link in self.links:
            self.links.remove(link)
        for future in link.pending.values():
            if not future.done():
                future.set_exception(Lost())
        self.pulse.beat()

    def _ack(self, link: Link, ack: Json) -> None:
        future = link.pending.pop(ack.get("envelope_id", ""), None)
        if future is None or future.done():
            self.late_acks.append(ack)
        else:
            future.set_result(ack.get("payload"))

    def _free(self) -> list[Link]:
        return [link for link in self.links if not link.leaving]

    async def wait_for(self, count: int, seconds: float | None) -> list[Link]:
        """The sockets, once there are that many. Raises TimeoutError."""
        await self.pulse.until(lambda: len(self._free()) >= count, seconds)
        return self._free()

    async def send(self, kind: str, payload: Json, attempt: int, reason: str, seconds: float) -> Any:
        """Send one envelope to one of the sockets; the payload of its acknowledgement. Raises Lost, TimeoutError."""
        async with asyncio.timeout(seconds):
            link = self.faults.dice.choice(await self.wait_for(1, None))
            answered = asyncio.get_running_loop().create_future()
            envelope: Json = {"envelope_id": secrets.token_hex(16), "type": kind, "payload": payload}
            envelope["accepts_response_payload"] = kind != "events_api"
            if attempt:
                envelope |= {"retry_attempt": attempt, "retry_reason": reason}
            link.pending[envelope["envelope_id"]] = answered
            try:
                await link.ws.send_json(envelope)
                if self.faults.chance(self.faults.socket_drops):
                    link.abort()
                return await answered
            except ConnectionError:
                link.leaving = True
                raise Lost from None
            finally:
                # What comes after the deadline is late, and is told apart from an unknown envelope by nobody.
                link.pending.pop(envelope["envelope_id"], None)

    def drop(self) -> None:
        """Cut every socket."""
        for link in list(self.links):
            link.abort()

    async def disconnect(self, reason: str, close_after: float = 0) -> None:
        """Tell the sockets to go (warning, refresh_requested, link_disabled), then close them."""
        links = list(self.links)
        for link in links:
            link.leaving = reason != "warning"
            await link.ws.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink"}})
        await asyncio.sleep(close_after)
        for link in links:
            await link.ws.close()
