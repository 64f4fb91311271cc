"""SQLite off the event loop: one thread a connection, whole functions in one hop, errors as sentences."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from bot.errors import StoreUnavailable

T = TypeVar("T")

_FULL = "the disk that holds it is full; free some space and try again"
_ENVIRONMENT = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,  # what a full disk is called while the file is being opened
    sqlite3.SQLITE_BUSY: "another process holds it locked; end that process and try again",
    sqlite3.SQLITE_LOCKED: "another process holds it locked; end that process and try again",
    sqlite3.SQLITE_READONLY: "it may not be written; check its owner and mode, and that its disk is not read-only",
    sqlite3.SQLITE_PERM: "it may not be written; check its owner and mode, and that its disk is not read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and belongs to the service's user",
    sqlite3.SQLITE_IOERR: "the disk reports an error; check the disk and its mount",
    sqlite3.SQLITE_NOMEM: "the machine has no memory left",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; stop the service and restore a copy",
    sqlite3.SQLITE_NOTADB: "the file is not a database; is the path right?",
    sqlite3.SQLITE_PROTOCOL: "other processes keep it locked; end them and try again",
}


class Connection(sqlite3.Connection):
    """SQLite's connection, which also takes text with unpaired surrogates and knows what it numbered."""

    numbered: dict[str, int]
    """The last event number of each job that got events in the running transaction."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # type: ignore[explicit-override]
        """Run one statement; an unpaired surrogate becomes `?`."""
        try:
            return super().execute(sql, parameters)
        except UnicodeEncodeError:
            return super().execute(sql, [clean(each) for each in parameters])


def clean(value: T) -> T:
    """The value, with unpaired surrogates in text replaced by `?`: UTF-8 has no form for them."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode("utf-8")  # type: ignore[return-value]


class Database(aiosqlite.Connection):
    """A connection on a thread of its own."""

    def __init__(self, path: Path, *, patience: float, pragmas: Iterable[str] = ()) -> None:
        """Prepare to open the file; `patience` is how many seconds a locked file is waited for."""
        super().__init__(lambda: _connect(path, patience, pragmas), iter_chunk_size=64)
        self.path = path

    async def __aenter__(self) -> Self:  # type: ignore[explicit-override]
        """Open the file."""
        try:
            await self
        except BaseException as error:  # raised again, or as a sentence
            # aiosqlite tells its thread to stop and leaves it; a loop closed meanwhile would make the thread fail.
            await asyncio.to_thread(self._thread.join)
            if isinstance(error, sqlite3.Error) and (sentence := unavailable(error, self.path)) is not None:
                raise sentence from error
            raise
        return self

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Call the function with the connection, on the connection's thread.

        Raises StoreUnavailable when the disk or another process is in the way.
        """
        # aiosqlite makes a round trip between the threads of every statement; a transaction of many
        # statements is many times faster in one, and nothing can come between its statements.
        try:
            result: T = await self._execute(self._call, function)  # type: ignore[no-untyped-call]
        except sqlite3.Error as error:
            if (sentence := unavailable(error, self.path)) is None:
                raise
            raise sentence from error
        return result

    def _call(self, function: Callable[[Connection], T]) -> T:
        connection = self._conn
        assert isinstance(connection, Connection)
        return function(connection)


def unavailable(error: sqlite3.Error, path: Path) -> StoreUnavailable | None:
    """The sentence for an error that is not ours but the disk's or another process's; None for ours."""
    code = getattr(error, "sqlite_errorcode", 0)
    reason = _ENVIRONMENT.get(code) or _ENVIRONMENT.get(code & 0xFF)  # a precise code, or its kind
    if reason is None:
        return None
    return StoreUnavailable(f"Nothing of this was accepted, since {path} cannot be used: {reason} ({error}).")


def _connect(path: Path, patience: float, pragmas: Iterable[str]) -> Connection:
    # The file holds prompts and output; SQLite gives its -wal and -shm the same mode.
    try:
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}.") from error
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, factory=Connection, cached_statements=256
    )
    try:
        connection.numbered = {}
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:  # raised again; nobody else would close it
        connection.close()
        raise
    return connection
