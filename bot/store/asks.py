"""Asks: questions to people that work waits on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.database import Connection
from bot.model import Ask, AskKind, AskState, replace
from bot.store.chain import Audit, record
from bot.store.core import Core
from bot.store.numbering import follow_on
from executor.events import AskClosed, Event

_COLUMNS = "id, coalesce(job, ''), project, session, kind, request, state, created, expires, answer, actor, sent"
_SELECT = "SELECT " + _COLUMNS + " FROM asks "  # noqa: S608 - constants of this module
_OPEN = _SELECT + "WHERE state = 'open' ORDER BY created"
_OPEN_IN = _SELECT + "WHERE state = 'open' AND project = ? ORDER BY created"
_EXPIRED = _SELECT + "WHERE state = 'open' AND expires > 0 AND expires <= ? ORDER BY expires"
_UNSENT = _SELECT + "WHERE state = 'answered' AND sent = 0 AND job = ? ORDER BY created"
_INSERT = "INSERT INTO asks VALUES (?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ANSWER = "UPDATE asks SET state = 'answered', answer = ?, actor = ? WHERE id = ? AND state = 'open'"
_CLOSE = "UPDATE asks SET state = ? WHERE id = ? AND state = 'open'"
_SENT = "UPDATE asks SET sent = 1 WHERE id = ?"


class Asks(Core):
    """The questions to people and their answers."""

    async def add_ask(self, ask: Ask, audit: Audit = None) -> None:
        """Store an ask that no event tells of; a job's asks go with its events in `append`."""

        def add(connection: Connection) -> None:
            insert(connection, ask)
            record(connection, audit, self._clock)

        await self.write(add)

    async def ask(self, ask_id: str) -> Ask | None:
        """The ask of that id."""
        return await self.read(lambda connection: _find(connection, ask_id))

    async def open_asks(self, project: str | None = None) -> list[Ask]:
        """What people are being asked, in the project or in all, oldest first."""
        if project is None:
            return await self.read(lambda connection: _all(connection, _OPEN))
        return await self.read(lambda connection: _all(connection, _OPEN_IN, project))

    async def answer_ask(
        self, ask_id: str, answer_json: str, actor: str, *, events: Sequence[Event] = (), audit: Audit
    ) -> bool:
        """Answer an open ask and append the events to its job; False, with nothing changed, when it is not open.

        A job that has ended takes no events: they are dropped, the answer is kept.
        """

        def answer(connection: Connection) -> bool:
            if connection.execute(_ANSWER, (answer_json, actor, ask_id)).rowcount != 1:
                return False
            ask = _find(connection, ask_id)
            if ask is not None and ask.job:
                follow_on(connection, ask.job, events, self._clock())
            record(connection, audit, self._clock)
            return True

        return await self.write(answer)

    async def unsent_answers(self, job: str) -> list[Ask]:
        """The job's answered asks whose answer has not reached who asked, oldest first."""
        return await self.read(lambda connection: _all(connection, _UNSENT, job))

    async def mark_sent(self, ask_id: str) -> None:
        """Note that the answer has reached who asked."""
        await self.write(lambda connection: connection.execute(_SENT, (ask_id,)).close())

    async def expire_asks(self, now: float) -> list[Ask]:
        """Close the open asks whose time is over, and tell so in their jobs' events; gives them as they are now."""

        def expire(connection: Connection) -> list[Ask]:
            expired = [replace(ask, state=AskState.EXPIRED) for ask in _all(connection, _EXPIRED, now)]
            for ask in expired:
                close(connection, ask.id, ask.state)
                if ask.job:
                    follow_on(connection, ask.job, [AskClosed(ask.id, ask.state)], self._clock())
            return expired

        return await self.write(expire)


def insert(connection: Connection, ask: Ask) -> None:
    """Store a new ask."""
    connection.execute(
        _INSERT,
        (
            ask.id,
            ask.job,
            ask.project,
            ask.session,
            ask.kind,
            ask.request,
            ask.state,
            ask.created,
            ask.expires,
            ask.answer,
            ask.actor,
            ask.sent,
        ),
    )


def close(connection: Connection, ask_id: str, state: AskState) -> None:
    """Close an ask without an answer, if it is open."""
    connection.execute(_CLOSE, (state, ask_id))


def _find(connection: Connection, ask_id: str) -> Ask | None:
    return next(iter(_all(connection, _SELECT + "WHERE id = ?", ask_id)), None)


def _all(connection: Connection, sql: str, *parameters: object) -> list[Ask]:
    return [_ask(row) for row in connection.execute(sql, parameters).fetchall()]


def _ask(row: tuple[Any, ...]) -> Ask:
    ask = Ask(*row)
    return replace(ask, kind=AskKind(ask.kind), state=AskState(ask.state), sent=bool(ask.sent))
