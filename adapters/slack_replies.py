"""What one person alone is told: refusals, tables, and where their work goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from adapters.slack_api import Refused, patiently
from adapters.slack_render import body, confirmation
from adapters.slack_text import escape, fenced, mrkdwn, pieces
from adapters.slack_workspace import Workspace
from bot.budget import Urgency
from bot.errors import ThreadGone
from bot.reply import Reply

log = logging.getLogger(__name__)

Json = dict[str, Any]

_PIECE = 3_000
_PIECES = 4
"""A response_url takes five messages; one of them may be the last word."""


@dataclass(frozen=True, slots=True)
class Place:
    """Who acted, where, and the address that answers them alone, where Slack gave one."""

    team: str
    user: str
    channel: str
    root: str = ""
    """The first message of the thread they are in."""
    url: str = ""

    @property
    def actor(self) -> str:
        """The person as rights and the audit log name them."""
        return f"slack:{self.team}/{self.user}"

    @property
    def thread(self) -> str:
        """The thread's id, "" outside any."""
        return f"{self.channel}/{self.root}" if self.root else ""


class Replies:
    """Tells people what came of what they did."""

    def __init__(self, workspace: Workspace) -> None:
        self._web = workspace.web
        self._budgets = workspace.budgets
        self._chat = workspace.chat
        self._url = workspace.url

    async def told(self, place: Place, reply: Reply) -> list[Json]:
        """The reply as messages for the person alone; a long one goes into the thread they are in, as a file."""
        messages = self.messages(place, reply)
        if len(messages) < 2 or not place.root:
            return messages
        try:
            await self._chat.upload(place.thread, "reply.txt", reply.text)
        except (aiohttp.ClientError, TimeoutError, Refused, ThreadGone) as error:
            log.warning("a long reply could not be uploaded: %s", error)
            return messages
        return []

    def messages(self, place: Place, reply: Reply) -> list[Json]:
        """The reply as messages for the person, none when what they see says it all."""
        text = reply.text
        if not reply.error and reply.thread and reply.thread != place.thread and reply.job:
            text = f"{text}\n" if text else ""
            return [{"text": f"{escape(text)}It goes on in <{self._link(reply.thread)}|its thread>."}]
        if not text:
            return []
        if reply.asks:
            return [{"text": mrkdwn(text), "blocks": [*body(text), *map(confirmation, reply.asks)]}]
        cut = list(pieces(fenced(text), _PIECE))
        if len(cut) > _PIECES:
            cut = [*cut[:_PIECES], f"… {len(text):,} characters in all, too many to show here."]
        return [{"text": mrkdwn(piece)} for piece in cut]

    async def send(self, place: Place, messages: Sequence[Json]) -> None:
        """Show the messages to the person alone; one that cannot be shown is logged."""
        try:
            for message in messages:
                await (self._answer(place.url, message) if place.url else self._whisper(place, message))
        except (aiohttp.ClientError, TimeoutError, Refused, ThreadGone) as error:
            log.warning("%s could not be told: %s", place.actor, error)

    def _link(self, thread: str) -> str:
        channel, _, root = thread.partition("/")
        return f"{self._url}archives/{channel}/p{root.replace('.', '')}"

    async def _answer(self, url: str, message: Json) -> None:
        session = self._web.session
        assert session is not None  # the client is made with one
        more = {"response_type": "ephemeral", "replace_original": False}
        async with session.post(url, json={**message, **more}) as answer:
            if answer.status >= 400:
                raise Refused(f"http {answer.status}")

    async def _whisper(self, place: Place, message: Json) -> None:
        more: Json = {"thread_ts": place.root} if place.root else {}
        await patiently(
            self._budgets.ephemeral,
            Urgency.REPLY,
            lambda: self._web.chat_postEphemeral(channel=place.channel, user=place.user, **message, **more),
        )
