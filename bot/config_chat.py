"""The chat platforms in the configuration file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config_secrets import Secret
from bot.config_section import Section, read_as
from bot.config_values import List


class Discord(Section):
    """The bot's place on Discord."""

    token: Secret = read_as({"env": "DISCORD_TOKEN"})
    """The bot's token."""
    guilds: List[Annotated[int, Field(gt=0)]] = ()
    """Servers, by id, where the commands are registered; empty for all that the bot is in."""
    shards: bool = False
    """Whether to split the connection, as Discord asks of bots in thousands of servers."""
    api_url: Annotated[str, Field(pattern=r"^https?://\S+[^/\s]$")] = "https://discord.com/api/v10"
    """Where requests go."""
    gateway_url: Annotated[str, Field(pattern=r"^wss?://\S+$")] = "wss://gateway.discord.gg/"
    """Where events come from."""


class Slack(Section):
    """The app's place on Slack."""

    bot_token: Secret = read_as({"env": "SLACK_BOT_TOKEN"})
    """The token that begins with xoxb-."""
    app_token: Secret = read_as({"env": "SLACK_APP_TOKEN"})
    """The token that begins with xapp-, for Socket Mode: no address of ours has to be reachable."""
    signing_secret: Secret | None = None
    """Named for requests over HTTP instead of Socket Mode; the app token is not used then."""
    listen: Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")] = "127.0.0.1:3000"
    """Where requests over HTTP are taken, at /slack/events."""
    api_url: Annotated[str, Field(pattern=r"^https?://\S+/$")] = "https://slack.com/api/"
    """Where requests go."""

    def secrets(self) -> tuple[Secret, ...]:
        """All that must never be shown."""
        more = () if self.signing_secret is None else (self.signing_secret,)
        return (self.bot_token, self.app_token, *more)
