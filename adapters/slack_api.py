"""Requests to Slack's Web API, each within its documented rate, and what Slack's refusals mean."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.board import HoldBack
from bot.budget import Budget, Urgency
from bot.errors import ThreadGone

_REMEMBERED = 4_096
"""Channels and threads whose budgets are kept."""
_GONE = frozenset(
    {
        *("account_inactive", "cannot_reply_to_message", "channel_not_found", "is_archived", "is_inactive"),
        *("not_in_channel", "posting_to_channel_denied", "restricted_action", "team_access_not_granted"),
        *("thread_not_found", "token_revoked", "cant_update_message", "edit_window_closed"),
    }
)


class Refused(Exception):
    """Slack does not do what it was asked; `error` is its own word for why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


async def call(request: Awaitable[AsyncSlackResponse]) -> dict[str, Any]:
    """The answer to a request; raises ThreadGone, HoldBack, or Refused with Slack's word."""
    try:
        data = (await request).data
    except SlackApiError as error:
        raise _meaning(error) from error
    return data if isinstance(data, dict) else {}


def _meaning(error: SlackApiError) -> Exception:
    response = error.response
    if not isinstance(response, AsyncSlackResponse):
        return Refused("no_json")
    if response.status_code == 429:
        return HoldBack(float(response.headers.get("Retry-After", 1)))
    word = response.data.get("error", "") if isinstance(response.data, dict) else ""
    if word in _GONE:
        return ThreadGone(f"Slack says {word}")
    if word in ("ratelimited", "rate_limited"):
        return HoldBack(float(response.headers.get("Retry-After", 1)))
    return Refused(word or f"http {response.status_code}")


class Budgets:
    """What Slack documents: calls of a method a minute in the workspace, and posts a second in a channel."""

    def __init__(self) -> None:
        self._posts = Budget(4.5, 20)
        self._updates = Budget(0.6, 12, reserve=2)
        self.reads = Budget(0.6, 12, reserve=0)
        """conversations.replies, tier 3."""
        self.reactions = Budget(0.6, 12, reserve=0)
        """reactions.add, tier 3."""
        self.files = Budget(1.2, 25, reserve=0)
        """Each of the two file methods, and views and ephemeral messages, tier 4."""
        self.ephemeral = Budget(1.2, 25, reserve=0)
        self._kept: OrderedDict[tuple[str, str], Budget] = OrderedDict()

    def posts(self, channel: str) -> Budget:
        """New messages in a channel: one a second, and a short burst."""
        return self._of("post", channel, lambda: Budget(1.0, 2, reserve=0, below=self._posts))

    def edits(self, thread: str) -> Budget:
        """Edits in a thread: no reader wants more than one a second."""
        return self._of("edit", thread, lambda: Budget(1.0, 3, below=self._updates))

    def _of(self, kind: str, place: str, new: Callable[[], Budget]) -> Budget:
        budget = self._kept.pop((kind, place), None) or new()
        self._kept[kind, place] = budget
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        return budget


async def patiently(
    budget: Budget, urgency: Urgency, request: Callable[[], Awaitable[AsyncSlackResponse]]
) -> dict[str, Any]:
    """The answer to a request once it may be sent; where Slack says to wait, it is sent again after that."""
    while True:
        await budget.take(urgency)
        try:
            return await call(request())
        except HoldBack as error:
            budget.hold(error.seconds)
