"""Ids of commands that were accepted, so that each runs once."""

from __future__ import annotations

from bot.database import Connection
from bot.store.core import Core

_ACCEPT = "INSERT INTO seen (id, time, reply) VALUES (?, ?, '') ON CONFLICT DO NOTHING"
_REMEMBER = "INSERT INTO seen (id, time, reply) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET reply = excluded.reply"
_FORGET = "DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE time < ? ORDER BY time LIMIT 1000)"


class Seen(Core):
    """The ids accepted lately, with what was replied."""

    async def seen(self, message_id: str) -> str | None:
        """The reply to an accepted id, empty while there is none; None for an unknown id."""

        def find(connection: Connection) -> str | None:
            row = connection.execute("SELECT reply FROM seen WHERE id = ?", (message_id,)).fetchone()
            return row[0] if row else None

        return await self.read(find)

    async def accept(self, message_id: str) -> bool:
        """Take the id; False when it was taken before."""
        return await self.write(lambda connection: take(connection, message_id, self._clock()))

    async def remember(self, message_id: str, reply: str) -> None:
        """Keep what was replied to the id."""
        await self.write(lambda connection: connection.execute(_REMEMBER, (message_id, self._clock(), reply)).close())

    async def forget_seen(self, before: float) -> int:
        """Forget the ids accepted before that time; returns how many."""
        forgotten = 0
        while count := await self.write(lambda connection: connection.execute(_FORGET, (before,)).rowcount):
            forgotten += count
        return forgotten


def take(connection: Connection, message_id: str, now: float) -> bool:
    """Insert the id; False when it is there already."""
    return connection.execute(_ACCEPT, (message_id, now)).rowcount == 1
