"""What people write: commands, mentions and replies, in order within a thread and each of them once."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from adapters.slack_acts import Outcome
from adapters.slack_api import Refused, call
from adapters.slack_replies import Place, Replies
from adapters.slack_text import typed, unescape
from adapters.slack_workspace import Workspace
from bot.board import HoldBack
from bot.budget import Urgency
from bot.commands import COMMANDS
from bot.errors import ThreadGone
from bot.service import Message

log = logging.getLogger(__name__)

Json = dict[str, Any]

_NAMES = frozenset(command.name for command in COMMANDS)
_FIRST = frozenset(name.split()[0] for name in _NAMES)
_WRITTEN = (None, "file_share", "thread_broadcast")
"""Subtypes of messages that people write; the rest is edits, joins, and what bots do."""
_REMEMBERED = 4_096
_SEEN = "eyes"


class Messages:
    """Hands what people write to the service."""

    def __init__(self, workspace: Workspace, replies: Replies) -> None:
        self._service = workspace.service
        self._store = workspace.service.context.store
        self._web = workspace.web
        self._budgets = workspace.budgets
        self._bot = workspace.bot
        self._replies = replies
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._lanes = _Lanes()

    async def command(self, body: Json) -> Outcome:
        """A slash command."""
        place = Place(body["team_id"], body["user_id"], body["channel_id"], url=body.get("response_url", ""))
        text = f"{body['command']} {unescape(body.get('text', ''))}"
        message = Message(f"slack:{body['trigger_id']}", "slack", "", place.actor, text, place.channel)
        return Outcome(place, await self._replies.told(place, await self._service.handle(message)))

    async def event(self, body: Json) -> Outcome | None:
        """A message or a mention; anything else is passed over."""
        event = body["event"]
        written = event.get("type") in ("message", "app_mention") and event.get("subtype") in _WRITTEN
        if not written or event.get("bot_id") or not event.get("user") or event["user"] == self._bot:
            return None
        channel, ts, root = str(event["channel"]), str(event["ts"]), str(event.get("thread_ts") or "")
        # In a shared channel people of other workspaces write too: an actor is of their own.
        team = str(event.get("user_team") or event.get("team") or body["team_id"])
        place = Place(team, str(event["user"]), channel, root or ts)
        text = slashed(typed(str(event.get("text", "")), self._bot))
        if text.startswith("/rdev stop"):
            return await self._take(event, place, text, replied=bool(root))
        async with self._lanes.lane(place.thread):
            return await self._take(event, place, text, replied=bool(root))

    async def _take(self, event: Json, place: Place, text: str, *, replied: bool) -> Outcome | None:
        bound = replied and await self._store.session_of("slack", place.thread) is not None
        if not bound and event["type"] != "app_mention" and event.get("channel_type") != "im":
            return None
        # A mention comes twice, as a message and as a mention: its timestamp is one and the same.
        identity = f"slack:{place.channel}/{event['ts']}"
        if identity in self._recent or await self._store.seen(identity) is not None:
            return None
        self._remember(identity)
        try:
            return await self._write(identity, place, str(event["ts"]), text, bound=bound)
        except BaseException:  # raised again; a cancelled write is not there either
            self._recent.pop(identity, None)  # it is not acknowledged, and will come again
            raise

    async def _write(self, identity: str, place: Place, ts: str, text: str, *, bound: bool) -> Outcome:
        if not bound and not text.startswith("/"):
            text = self._as_work(text, place.actor)
        message = Message(identity, "slack", place.thread, place.actor, text, place.thread)
        reply = await self._service.handle(message)
        if not reply.error and not reply.job:
            await self._store.remember(identity, reply.text)
        if not reply.error and bound:
            await self._acknowledge(place.channel, ts)
        return Outcome(place, await self._replies.told(place, reply))

    def _as_work(self, text: str, actor: str) -> str:
        """A mention without a command is work for Claude; the project may be left out where there is one only."""
        projects = self._service.complete("/claude ", actor)
        if not text:
            return "/rdev help"
        if len(projects) == 1 and text.split(maxsplit=1)[0] != projects[0]:
            return f"/claude {projects[0]} {text}"
        return f"/claude {text}"

    async def _acknowledge(self, channel: str, ts: str) -> None:
        if not self._budgets.reactions.free(Urgency.REPLY):
            return  # it is a courtesy, and what follows in the thread says the same
        await self._budgets.reactions.take(Urgency.REPLY)
        try:
            await call(self._web.reactions_add(channel=channel, timestamp=ts, name=_SEEN))
        except (HoldBack, Refused, ThreadGone, aiohttp.ClientError, TimeoutError) as error:
            log.info("no reaction: %s", error)

    def _remember(self, identity: str) -> None:
        self._recent[identity] = None
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)


class _Lanes:
    """One at a time in each thread, in the order of coming; threads side by side."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def lane(self, thread: str) -> AsyncIterator[None]:
        """The thread's lane, once it is free."""
        self._users[thread] += 1
        try:
            async with self._locks.setdefault(thread, asyncio.Lock()):
                yield
        finally:
            self._users[thread] -= 1
            if not self._users[thread]:
                del self._users[thread], self._locks[thread]


def slashed(text: str) -> str:
    """`!stop` as `/rdev stop`: Slack takes no slash commands in threads."""
    word = text[1:].split(maxsplit=1)[0] if text.startswith("!") and text[1:].strip() else ""
    if word in _FIRST:
        return f"/{text[1:]}"
    return f"/rdev {text[1:]}" if f"rdev {word}" in _NAMES else text
