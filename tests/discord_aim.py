"""Points discord.py at another server than Discord's: its addresses are class attributes, made to be set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route


def aim(api: str, gateway: str, cdn: str) -> None:
    """Set the three addresses for this process, such as one that a test starts and kills."""
    Route.BASE = api
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    discord.Asset.BASE = cdn


@contextmanager
def aimed(api: str, gateway: str, cdn: str) -> Iterator[None]:
    """The same while entered."""
    was = (Route.BASE, str(DiscordWebSocket.DEFAULT_GATEWAY), discord.Asset.BASE)
    aim(api, gateway, cdn)
    try:
        yield
    finally:
        aim(*was)
