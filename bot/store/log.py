"""The audit log: acts, their listing, verification and export."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

from bot.audit import AuditRow, Verification, exported
from bot.database import Connection
from bot.model import AuditEntry
from bot.store.chain import record
from bot.store.core import Core

_COLUMNS = "seq, time, action, actor, project, session, job, prompt, duration_ms, exit_code, outcome, prev, hash"
_SELECT = "SELECT " + _COLUMNS + " FROM audit "  # noqa: S608 - constants of this module
_NEWEST = "ORDER BY seq DESC LIMIT ?"
_PAGE = _SELECT + "WHERE seq > ? ORDER BY seq LIMIT 1000"
_PAGE_OF_PROJECT = _SELECT + "WHERE seq > ? AND project = ? ORDER BY seq LIMIT 1000"
_FIRST = -(2**63)
_TOLD = 1000


class Log(Core):
    """Who did what, and proof that nobody edited it."""

    async def act(self, entry: AuditEntry) -> None:
        """Record an act that changes nothing else in the store."""
        await self.write(lambda connection: record(connection, entry, self._clock))

    async def audit(self, *, project: str | None = None, actor: str | None = None, limit: int = 50) -> list[AuditRow]:
        """The latest acts, newest first."""
        filters = {"project = ?": project, "actor = ?": actor}
        given = {sql: value for sql, value in filters.items() if value is not None}
        where = "WHERE " + " AND ".join(given) + " " if given else ""
        parameters = (*given.values(), limit)
        return await self.read(partial(_rows, sql=_SELECT + where + _NEWEST, parameters=parameters))

    async def verify(self) -> list[str]:
        """Sentences naming each row that was changed, moved, inserted or removed; at most the first thousand.

        Reads page by page, so that neither memory nor other readers suffer from a long log.
        """
        found: list[str] = []
        check, after = Verification(), _FIRST
        while len(found) < _TOLD:
            rows, head = await self.read(partial(_page_and_head, after=after))
            if not rows:
                found.extend(check.end(head))
                break
            for row in rows:
                found.extend(check.row(row))
            after = rows[-1].seq
        return found[:_TOLD]

    async def export(self, *, project: str | None = None) -> AsyncIterator[str]:
        """The log from its beginning as JSON lines, each with its newline."""
        sql, scope = (_PAGE, tuple[str, ...]()) if project is None else (_PAGE_OF_PROJECT, (project,))
        after = _FIRST
        while rows := await self.read(partial(_rows, sql=sql, parameters=(after, *scope))):
            for row in rows:
                yield json.dumps(exported(row), ensure_ascii=False) + "\n"
            after = rows[-1].seq


def _rows(connection: Connection, *, sql: str, parameters: tuple[object, ...]) -> list[AuditRow]:
    return [AuditRow(*row) for row in connection.execute(sql, parameters).fetchall()]


def _page_and_head(connection: Connection, *, after: int) -> tuple[list[AuditRow], tuple[int, str] | None]:
    # One transaction: a row written between the two reads would look inserted.
    connection.execute("BEGIN")
    try:
        rows = _rows(connection, sql=_PAGE, parameters=(after,))
        return rows, connection.execute("SELECT seq, hash FROM audit_head WHERE id = 1").fetchone()
    finally:
        connection.execute("COMMIT")
