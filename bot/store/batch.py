"""Many callers' writes as one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bot.database import Connection

_OF_THE_CALLER = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.InterfaceError)


@dataclass(frozen=True, slots=True)
class Failure:
    """What one caller's write raised; it changed nothing."""

    error: Exception


def commit(
    connection: Connection, functions: Sequence[Callable[[Connection], Any]]
) -> tuple[list[Any], dict[str, int]]:
    """Run each function and commit them all; gives each one's result or Failure, and what was numbered.

    Raises, with nothing committed, sqlite3.Error when the disk or another process was in the way, and what a
    function raised that was alone.
    """
    numbered: dict[str, int] = {}
    connection.execute("BEGIN IMMEDIATE")
    try:
        if len(functions) == 1:  # needs no savepoint: two statements fewer where latency counts most
            outcomes = [_run(connection, functions[0], numbered)]
        else:
            outcomes = [_attempt(connection, function, numbered) for function in functions]
        connection.execute("COMMIT")
    except BaseException:  # raised again; half a batch must not stay
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes, numbered


def _attempt(connection: Connection, function: Callable[[Connection], Any], numbered: dict[str, int]) -> Any:
    connection.execute("SAVEPOINT one")
    try:
        result = _run(connection, function, numbered)
    except Exception as error:  # handed to its caller, who alone knows what to do with it
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_THE_CALLER):
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return Failure(error)
    connection.execute("RELEASE one")
    return result


def _run(connection: Connection, function: Callable[[Connection], Any], numbered: dict[str, int]) -> Any:
    connection.numbered = {}
    result = function(connection)
    numbered.update(connection.numbered)
    return result
