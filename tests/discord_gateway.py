"""The gateway: sessions that outlive their connections, and the frames of each connection."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web
from discord_compression import compressor
from discord_faults import Faults
from discord_state import State
from discord_wire import Wire

GUILDS, MEMBERS, MESSAGES, REACTIONS, TYPING, CONTENT = 1 << 0, 1 << 1, 1 << 9, 1 << 10, 1 << 11, 1 << 15
PRIVILEGED = MEMBERS | 1 << 8 | CONTENT
NEEDED = {"MESSAGE_REACTION": REACTIONS, "MESSAGE": MESSAGES, "TYPING": TYPING, "INTERACTION": 0}
BLANKED = {"content": "", "embeds": [], "attachments": [], "components": []}
KEPT = 5000  # events that a session can be given again
LOST = 4  # sessions without a connection that can still be resumed
FRAMES = 120  # a connection may send in a minute
FRAME_BYTES = 4096


@dataclass
class Session:
    """What one IDENTIFY began; its events are numbered and kept for a RESUME."""

    id: str
    intents: int
    guild: bool
    seq: int = 0
    log: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=KEPT))
    line: Line | None = None

    def add(self, name: str, data: Wire) -> None:
        self.seq += 1
        text = json.dumps({"op": 0, "t": name, "s": self.seq, "d": data})
        self.log.append((self.seq, text))
        if self.line:
            self.line.put(text)


class Line:
    """One connection: frames leave it in order, compressed in one context."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        compress = request.query.get("compress", "")
        self.socket = socket
        self._transport = request.transport
        self._compress: Callable[[bytes], bytes] | None = compressor(compress) if compress else None
        self._out: asyncio.Queue[str] = asyncio.Queue()

    def put(self, text: str) -> None:
        self._out.put_nowait(text)

    def op(self, op: int, data: Any = None) -> None:
        self.put(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    async def write(self) -> None:
        while True:
            text = await self._out.get()
            try:
                if self._compress:
                    await self.socket.send_bytes(self._compress(text.encode()))
                else:
                    await self.socket.send_str(text)
            except ConnectionError:
                return

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()


@dataclass
class Gateway:
    """All sessions; `connects` and `identifies` say what clients did, by time."""

    state: State
    token: str
    faults: Faults
    beat: float = 41.25  # seconds between heartbeats
    privileged: int = CONTENT
    url: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    lines: set[Line] = field(default_factory=set)
    connects: list[float] = field(default_factory=list)
    identifies: list[Wire] = field(default_factory=list)
    resumes: list[Wire] = field(default_factory=list)
    closed_with: list[int] = field(default_factory=list)

    def emit(self, name: str, data: Wire) -> None:
        """Give an event to every session that may have it, now and then twice."""
        for session in self.sessions.values():
            need = next((bit for start, bit in NEEDED.items() if name.startswith(start)), GUILDS)
            member = name == "THREAD_MEMBERS_UPDATE" and not session.intents & MEMBERS
            bot = str(self.state.bot.id)
            if member and all(one["user_id"] != bot for one in data["added_members"]):
                continue
            if not session.guild or (need and not session.intents & need):
                continue
            if name.startswith("MESSAGE_") and "content" in data and not self._may_read(session, data):
                data = data | BLANKED
            for _ in range(1 + self.faults.repeats()):
                session.add(name, data)

    def _may_read(self, session: Session, data: Wire) -> bool:
        bot = str(self.state.bot.id)
        return bool(session.intents & CONTENT) or bot in (
            data["author"]["id"],
            *(one["id"] for one in data["mentions"]),
        )

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until either side closes it."""
        self.connects.append(time.monotonic())
        socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20)
        await socket.prepare(request)
        line = Line(socket, request)
        self.lines.add(line)
        writer = asyncio.create_task(line.write(), name="gateway-writer")
        try:
            line.op(10, {"heartbeat_interval": int(self.beat * 1000), "_trace": []})
            code = await self._listen(line)
            if code:
                self.closed_with.append(code)
                await socket.close(code=code)
        except (ConnectionError, TimeoutError):
            pass  # an aborted connection ends like this; the session stays
        finally:
            writer.cancel()
            self.lines.discard(line)
            for session in self.sessions.values():
                if session.line is line:
                    session.line = None
            self.state.changed()
        return socket

    async def _listen(self, line: Line) -> int:
        """Read frames; returns the code to close with, or 0 when the client has gone."""
        times: deque[float] = deque(maxlen=FRAMES)
        while True:
            try:
                frame = await line.socket.receive(timeout=self.beat * 1.5)
            except TimeoutError:
                return 4009
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                # A client that closes with 1000 or 1001 gives its session up; any other end leaves it.
                if frame.type is WSMsgType.CLOSE and frame.data in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
                    self.forget(line)
                return 0
            if len(frame.data) > FRAME_BYTES:
                return 4002
            if len(times) == FRAMES and time.monotonic() - times[0] < 60:
                return 4008
            times.append(time.monotonic())
            try:
                body = json.loads(frame.data)
            except ValueError:
                return 4002
            if code := self._act(line, body):
                return code

    def forget(self, line: Line) -> None:
        """Drop the session of a connection."""
        for id_ in [one.id for one in self.sessions.values() if one.line is line]:
            del self.sessions[id_]

    def _act(self, line: Line, body: Wire) -> int:
        known = any(one.line is line for one in self.sessions.values())
        match body.get("op"):
            case 1:
                line.op(11)
            case 2:
                return 4005 if known else self._identify(line, body["d"])
            case 6:
                return 4005 if known else self._resume(line, body["d"])
            case 3 | 4 | 8 if not known:
                return 4003
            case 3 | 4:
                pass
            case 8:
                self._members(line, body["d"])
            case _:
                return 4001
        return 0

    def _identify(self, line: Line, data: Wire) -> int:
        self.identifies.append(data)
        if data.get("token", "").removeprefix("Bot ") != self.token:
            return 4004
        intents = data.get("intents")
        if not isinstance(intents, int) or intents < 0 or intents >= 1 << 27:
            return 4013
        if intents & PRIVILEGED & ~self.privileged:
            return 4014
        shard, shards = data.get("shard") or (0, 1)
        if not 0 <= shard < shards:
            return 4010
        mine = (self.state.guild >> 22) % shards == shard and not self.state.kicked
        for old in [one.id for one in self.sessions.values() if one.line is None][:-LOST]:
            del self.sessions[old]
        session = Session(secrets.token_hex(16), intents, mine, line=line)
        self.sessions[session.id] = session
        guild = [{"id": str(self.state.guild), "unavailable": True}] if mine else []
        ready: Wire = {"v": 10, "user": self.state.bot.wire() | {"mfa_enabled": False, "verified": True, "email": None}}
        ready |= {"guilds": guild, "session_id": session.id, "resume_gateway_url": self.url, "session_type": "normal"}
        ready |= {"application": {"id": str(self.state.bot.id), "flags": 1 << 19 | 1 << 15}, "private_channels": []}
        ready |= {"shard": [shard, shards]} if data.get("shard") else {}
        session.add("READY", ready)
        if mine:
            session.add("GUILD_CREATE", self.state.guild_wire(members=bool(intents & MEMBERS)))
        self.state.changed()
        return 0

    def _resume(self, line: Line, data: Wire) -> int:
        self.resumes.append(data)
        session = self.sessions.get(data.get("session_id", ""))
        if data.get("token", "").removeprefix("Bot ") != self.token:
            return 4004
        if session is None or (session.log and session.log[0][0] > data["seq"] + 1):
            line.op(9, False)
            return 0
        if data["seq"] > session.seq:
            return 4007
        session.line = line
        for seq, text in session.log:
            if seq > data["seq"]:
                line.put(text)
        session.add("RESUMED", {"_trace": []})
        self.state.changed()
        return 0

    def _members(self, line: Line, data: Wire) -> None:
        wanted = {str(one) for one in data.get("user_ids") or ()}
        found = [one for one in self.state.users.values() if not wanted or str(one.id) in wanted]
        chunk: Wire = {"guild_id": str(self.state.guild), "members": [one.member() for one in found], "not_found": []}
        chunk |= {"chunk_index": 0, "chunk_count": 1, "nonce": data.get("nonce")}
        for session in self.sessions.values():
            if session.line is line:
                session.add("GUILD_MEMBERS_CHUNK", chunk)
