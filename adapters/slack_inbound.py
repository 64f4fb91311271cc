"""All that Slack sends, through one door: carried out first, and acknowledged then or at the last moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from slack_bolt.response import BoltResponse

from adapters.slack_acts import Interactions, Outcome
from adapters.slack_messages import Messages
from adapters.slack_replies import Replies
from adapters.slack_text import escape
from bot.setup_slack import SHORTCUT

log = logging.getLogger(__name__)

Json = dict[str, Any]

_ACK_SECONDS = 2.0
"""Slack shows an error after three."""
_AT_ONCE = 1_000
"""More is refused, and Slack sends it again later."""


class Inbound:
    """Takes requests; whatever is not acknowledged when we die comes again, and runs once by its id."""

    def __init__(self, messages: Messages, interactions: Interactions, replies: Replies) -> None:
        self._messages = messages
        self._interactions = interactions
        self._replies = replies
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def door(self, body: Json) -> BoltResponse:
        """Carry out one request and acknowledge it, with the first thing to be told where Slack shows that."""
        if len(self._tasks) >= _AT_ONCE:
            return BoltResponse(status=503, body="")
        acting = self._spawn(self._dispatch(body))
        done, _ = await asyncio.wait({acting}, timeout=_ACK_SECONDS)
        if not done:
            self._spawn(self._late(acting))
            return BoltResponse(status=200, body="")
        try:
            return self._acknowledged(body, acting.result())
        except Exception:  # one request that breaks must not take the connection with it; Slack sends it again
            log.exception("a request of Slack's broke on our side")
            return BoltResponse(status=500, body="")

    def _acknowledged(self, body: Json, outcome: Outcome | None) -> BoltResponse:
        if outcome is None:
            return BoltResponse(status=200, body="")
        if outcome.errors:
            return BoltResponse(status=200, body={"response_action": "errors", "errors": outcome.errors})
        messages, answer = outcome.messages, {}
        if body.get("command") and messages:
            answer, messages = {**messages[0], "response_type": "ephemeral"}, messages[1:]
        if messages:
            self._spawn(self._replies.send(outcome.place, messages))
        return BoltResponse(status=200, body=answer or "")

    async def _late(self, acting: asyncio.Task[Outcome | None]) -> None:
        try:
            outcome = await acting
        except Exception:  # as at the door, but Slack no longer waits
            log.exception("a request of Slack's broke on our side")
            return
        if outcome is not None:
            told = [{"text": escape(text)} for text in outcome.errors.values()]
            await self._replies.send(outcome.place, [*told, *outcome.messages])

    async def _dispatch(self, body: Json) -> Outcome | None:
        if body.get("command"):
            return await self._messages.command(body)
        match body.get("type"):
            case "event_callback":
                return await self._messages.event(body)
            case "block_actions":
                return await self._interactions.pressed(body)
            case "view_submission":
                return await self._interactions.submitted(body)
            case "message_action" if body.get("callback_id") == SHORTCUT:
                return await self._interactions.shortcut(body)
        return None

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
