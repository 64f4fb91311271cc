"""Grants: domains that people allowed beyond the configuration."""

from __future__ import annotations

from bot.database import Connection
from bot.model import Grant
from bot.store.chain import Audit, record
from bot.store.core import Core

_SELECT = "SELECT project, session, domain, actor, created, expires FROM grants "
_LASTING = "AND (expires = 0 OR expires > ?) ORDER BY session, domain"
_OF_PROJECT = _SELECT + "WHERE project = ? " + _LASTING
_OF_SESSION = _SELECT + "WHERE project = ? AND session IN ('', ?) " + _LASTING
_INSERT = """INSERT INTO grants (project, session, domain, actor, created, expires) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET actor = excluded.actor, created = excluded.created, expires = excluded.expires"""
_EXPIRED = _SELECT + "WHERE expires > 0 AND expires <= ? ORDER BY expires"
_EXPIRE = "DELETE FROM grants WHERE expires > 0 AND expires <= ?"


class Grants(Core):
    """The domains allowed by people."""

    async def grant(self, grant: Grant, audit: Audit) -> None:
        """Allow a domain; one that is allowed already gets the new actor and times."""
        row = (grant.project, grant.session, grant.domain, grant.actor, grant.created, grant.expires)

        def allow(connection: Connection) -> None:
            connection.execute(_INSERT, row)
            record(connection, audit, self._clock)

        await self.write(allow)

    async def grants(self, project: str, session: str | None = None, now: float | None = None) -> list[Grant]:
        """What holds at `now`: the session's own and the whole project's; without a session, all in the project."""
        time = self._clock() if now is None else now
        sql, scope = (_OF_PROJECT, (project,)) if session is None else (_OF_SESSION, (project, session))
        return await self.read(lambda connection: _all(connection, sql, *scope, time))

    async def expire_grants(self, now: float) -> list[Grant]:
        """Remove the grants whose time is over; gives them."""

        def expire(connection: Connection) -> list[Grant]:
            expired = _all(connection, _EXPIRED, now)
            connection.execute(_EXPIRE, (now,))
            return expired

        return await self.write(expire)


def _all(connection: Connection, sql: str, *parameters: object) -> list[Grant]:
    return [Grant(*row) for row in connection.execute(sql, parameters).fetchall()]
