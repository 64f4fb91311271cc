"""What people wrote while we were not there: Discord tells a new connection nothing of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import discord

from bot.store import Store

log = logging.getLogger(__name__)

_SESSIONS = 100
"""So many of the newest sessions are looked through."""
_MESSAGES = 50
_OLDEST = timedelta(hours=12)
"""What is older was written for another day; the store knows ids twice as long."""


async def missed(client: discord.Client, store: Store) -> AsyncIterator[discord.Message]:
    """The messages after our last one, in each session's thread, that have not been accepted; oldest first."""
    for session in await store.sessions(limit=_SESSIONS):
        for surface, thread in await store.threads_of(session.id):
            if surface != "discord" or session.deleted:
                continue
            try:
                found = await _after_ours(client, thread)
            except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.info("thread %s cannot be read back: %s", thread, error)
                continue
            for message in reversed(found):
                if await store.seen(f"discord:{message.id}") is None:
                    yield message
            await asyncio.sleep(0.05)  # a hundred threads are not worth the whole of Discord's budget at once


async def _after_ours(client: discord.Client, thread: str) -> list[discord.Message]:
    found = []
    oldest = discord.utils.utcnow() - _OLDEST
    async for message in client.get_partial_messageable(int(thread)).history(limit=_MESSAGES, after=None):
        if (client.user and message.author.id == client.user.id) or message.created_at < oldest:
            break
        found.append(message)
    return found
