"""Sessions and the threads bound to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from bot.database import Connection
from bot.errors import NameTaken
from bot.model import Session, replace
from bot.store.chain import Audit, record
from bot.store.core import Core

_COLUMNS = "id, project, name, claude_id, actor, created, model, effort, mode, claude_started, deleted"
_SELECT = "SELECT " + _COLUMNS + " FROM sessions "  # noqa: S608 - constants of this module
_INSERT = "INSERT INTO sessions (" + _COLUMNS + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - the same
_UPDATE = {
    "claude_id": "UPDATE sessions SET claude_id = ? WHERE id = ?",
    "model": "UPDATE sessions SET model = ? WHERE id = ?",
    "effort": "UPDATE sessions SET effort = ? WHERE id = ?",
    "mode": "UPDATE sessions SET mode = ? WHERE id = ?",
    "claude_started": "UPDATE sessions SET claude_started = ? WHERE id = ?",
    "deleted": "UPDATE sessions SET deleted = ? WHERE id = ?",
}
_BIND = """INSERT INTO threads (surface, thread, session) VALUES (?, ?, ?)
    ON CONFLICT (surface, thread) DO UPDATE SET session = excluded.session"""
_BOUND = "WHERE id = (SELECT session FROM threads WHERE surface = ? AND thread = ?)"
_THREADS = "SELECT surface, thread FROM threads WHERE session = ? ORDER BY surface, thread"
_NEWEST = "ORDER BY created DESC, rowid DESC LIMIT ?"


class Sessions(Core):
    """The conversations."""

    async def add_session(self, session: Session, audit: Audit) -> None:
        """Store a new session; raises NameTaken where the project has a living one of that name."""

        def add(connection: Connection) -> None:
            try:
                connection.execute(_INSERT, _row(session))
            except sqlite3.IntegrityError as error:
                if "sessions.name" not in str(error):
                    raise
                raise NameTaken(f"{session.project} already has a session named {session.name}.") from error
            record(connection, audit, self._clock)

        await self.write(add)

    async def session(self, session_id: str) -> Session | None:
        """The session of that id, deleted ones included."""
        return await self.read(lambda connection: find(connection, session_id))

    async def session_named(self, project: str, name: str) -> Session | None:
        """The project's living session of that name."""
        sql = _SELECT + "WHERE project = ? AND name = ? AND deleted = 0"
        return await self.read(lambda connection: _one(connection, sql, (project, name)))

    async def sessions(
        self, project: str | None = None, *, limit: int = 50, include_deleted: bool = False
    ) -> list[Session]:
        """Sessions of the project, or of all, newest first."""
        deleted = "deleted IN (0, 1) " if include_deleted else "deleted = 0 "
        sql = _SELECT + "WHERE " + ("" if project is None else "project = ? AND ") + deleted + _NEWEST
        parameters = (limit,) if project is None else (project, limit)

        def find_all(connection: Connection) -> list[Session]:
            return [_session(row) for row in connection.execute(sql, parameters).fetchall()]

        return await self.read(find_all)

    async def update_session(self, session_id: str, *, audit: Audit = None, **changes: str | bool) -> Session:
        """Change fields of a session; raises KeyError for an unknown one.

        May be changed: claude_id, model, effort, mode, claude_started, deleted. A deleted session's
        grants end with it.
        """

        def update(connection: Connection) -> Session:
            change(connection, session_id, changes)
            record(connection, audit, self._clock)
            session = find(connection, session_id)
            if session is None:
                raise KeyError(session_id)
            return session

        return await self.write(update)

    async def forget_claude(self, project: str, audit: Audit) -> None:
        """Note that the CLI knows none of the project's sessions any more."""

        def forget(connection: Connection) -> None:
            connection.execute("UPDATE sessions SET claude_started = 0 WHERE project = ?", (project,))
            record(connection, audit, self._clock)

        await self.write(forget)

    async def bind(self, surface: str, thread: str, session: str) -> None:
        """Make the thread the session's; a thread belongs to one session, a session may have several threads."""
        await self.write(lambda connection: connection.execute(_BIND, (surface, thread, session)).close())

    async def session_of(self, surface: str, thread: str) -> Session | None:
        """The session that the thread is bound to."""
        return await self.read(lambda connection: _one(connection, _SELECT + _BOUND, (surface, thread)))

    async def threads_of(self, session: str) -> list[tuple[str, str]]:
        """The session's threads as (surface, thread)."""
        return await self.read(lambda connection: connection.execute(_THREADS, (session,)).fetchall())


def change(connection: Connection, session_id: str, changes: Mapping[str, str | bool]) -> None:
    """Change fields of a session; raises TypeError for a field that is not to be changed."""
    for name, value in changes.items():
        if name not in _UPDATE:
            raise TypeError(f"a session's {name} does not change")
        connection.execute(_UPDATE[name], (value, session_id))
    if changes.get("deleted"):
        connection.execute(
            "DELETE FROM grants WHERE session = ?1 AND project = (SELECT project FROM sessions WHERE id = ?1)",
            (session_id,),
        )


def find(connection: Connection, session_id: str) -> Session | None:
    """The session of that id."""
    return _one(connection, _SELECT + "WHERE id = ?", (session_id,))


def _one(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> Session | None:
    row = connection.execute(sql, parameters).fetchone()
    return _session(row) if row else None


def _session(row: tuple[Any, ...]) -> Session:
    session = Session(*row)
    return replace(session, claude_started=bool(session.claude_started), deleted=bool(session.deleted))


def _row(session: Session) -> tuple[Any, ...]:
    return (
        session.id,
        session.project,
        session.name,
        session.claude_id,
        session.actor,
        session.created,
        session.model,
        session.effort,
        session.mode,
        session.claude_started,
        session.deleted,
    )
