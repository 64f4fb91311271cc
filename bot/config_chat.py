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
