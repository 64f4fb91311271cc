"""Retention: old jobs' events go, everything else stays."""

from __future__ import annotations

from bot.database import Connection
from bot.store.core import Core

_DUE = """SELECT id FROM jobs WHERE pruned = 0 AND ended > 0 AND ended < ?
    AND state IN ('succeeded', 'failed', 'cancelled')
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE done = 0 AND deliveries.job = jobs.id)
    ORDER BY ended LIMIT 1"""
_DELETE = """DELETE FROM events WHERE job = ?1 AND seq IN
    (SELECT seq FROM events WHERE job = ?1 ORDER BY seq LIMIT 500)"""
_PRUNED = "UPDATE jobs SET pruned = 1 WHERE id = ?"


class Retention(Core):
    """What is kept how long."""

    async def prune(self, events_before: float) -> int:
        """Delete the events of jobs that ended before and are shown wherever they should be; returns how many.

        Goes in small transactions, between which others write.
        """
        deleted = 0
        while (count := await self.write(lambda connection: _some(connection, events_before))) is not None:
            deleted += count
        return deleted


def _some(connection: Connection, before: float) -> int | None:
    job = connection.execute(_DUE, (before,)).fetchone()
    if job is None:
        return None
    count = connection.execute(_DELETE, job).rowcount
    if count == 0:
        connection.execute(_PRUNED, job)
    return count
