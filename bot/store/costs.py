"""What work cost."""

from __future__ import annotations

from typing import NamedTuple

from bot.store.core import Core

# Left to itself, SQLite would rather read every job than sort a month's sums by project.
_SUMS = "SELECT project, count(*), total(cost_usd), coalesce(sum(tokens), 0) FROM jobs INDEXED BY jobs_by_cost "
_SINCE = _SUMS + "WHERE created >= ? GROUP BY project ORDER BY project"
_OF_PROJECT = _SUMS + "WHERE created >= ? AND project = ? GROUP BY project"
_OF_SESSION = """SELECT coalesce(min(project), ''), count(*), total(cost_usd), coalesce(sum(tokens), 0) FROM jobs
    WHERE session = ?"""


class Cost(NamedTuple):
    """What a number of jobs cost together."""

    project: str
    jobs: int
    cost_usd: float
    tokens: int


class Costs(Core):
    """Sums over jobs."""

    async def costs(self, *, project: str | None = None, since: float = 0.0) -> list[Cost]:
        """What the jobs made since then cost, for each project that has any."""
        sql, parameters = (_SINCE, (since,)) if project is None else (_OF_PROJECT, (since, project))
        rows = await self.read(lambda connection: connection.execute(sql, parameters).fetchall())
        return [Cost(*row) for row in rows]

    async def session_cost(self, session: str) -> Cost:
        """What the session's jobs cost."""
        row = await self.read(lambda connection: connection.execute(_OF_SESSION, (session,)).fetchone())
        return Cost(*row)
