"""One workspace, as the parts that serve it need it."""

from __future__ import annotations

from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack import SlackChat
from adapters.slack_api import Budgets
from bot.service import Service


@dataclass(frozen=True, slots=True)
class Workspace:
    """The service on one side, Slack on the other, and who we are there."""

    service: Service
    web: AsyncWebClient
    budgets: Budgets
    chat: SlackChat
    bot: str
    """Our own user id."""
    url: str
    """What links to messages begin with."""
