"""What the store's parts stand on: grouped writes, reads, and waiting for a job's next event."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from bot.database import Connection, Database
from bot.errors import StoreUnavailable
from bot.schema import migrate
from bot.store.batch import Failure, commit
from bot.store.waiters import Waiters

T = TypeVar("T")

_BATCH = 512
_SHARED = ("foreign_keys = ON", "temp_store = MEMORY")
_WRITER = ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 67108864", *_SHARED)
_READER = ("query_only = ON", *_SHARED)


@dataclass(frozen=True, slots=True)
class _Write:
    function: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Core:
    """One writing connection whose transactions many callers share, and one reading connection."""

    def __init__(self, writer: Database, reader: Database, clock: Callable[[], float]) -> None:
        """Use two open connections to one file; `clock` gives seconds since the epoch."""
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._queue: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._closed = False
        self._waiters = Waiters()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, clock: Callable[[], float] = time.time, patience: float = 5.0
    ) -> AsyncIterator[Self]:
        """Open the file, made and brought to the newest schema where needed; what was queued is written at the end.

        `patience` is how many seconds a lock of another process is waited for. Raises StoreUnavailable.
        """
        async with Database(path, patience=patience, pragmas=_WRITER) as writer:
            await writer.run(partial(migrate, path=path))
            async with Database(path, patience=patience, pragmas=_READER) as reader:
                store = cls(writer, reader, clock)
                task = asyncio.create_task(store._serve(), name="store-writer")
                try:
                    yield store
                finally:
                    store._closed = True
                    store._queue.put_nowait(None)
                    await task

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run the function in a transaction shared with whoever writes at the same time; returns after the commit.

        An exception undoes and reaches only its own caller. Raises StoreUnavailable when nothing could be
        committed. A caller cancelled meanwhile cannot tell whether its write was made.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed: rdev is stopping.")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Write(function, done))
        return await done

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run the function on the reading connection; each statement sees what was committed before it."""
        return await self._reader.run(function)

    async def wait_beyond(self, job_id: str, seq: int) -> None:
        """Return once the job has an event with a higher number than `seq`."""
        with self._waiters.waiting(job_id, seq) as beyond:
            if not beyond.done():
                row = await self.read(partial(_last, job_id=job_id))
                if row > seq:
                    return
            await beyond

    async def _serve(self) -> None:
        batch: list[_Write | None] = []
        while not batch or batch[-1] is not None:
            batch = await self._gather()
            # A caller cancelled while it waited wants nothing written.
            if writes := [each for each in batch if each is not None and not each.done.done()]:
                await self._commit(writes)

    async def _commit(self, writes: Sequence[_Write]) -> None:
        try:
            outcomes, numbered = await self._writer.run(partial(commit, functions=[each.function for each in writes]))
        except Exception as error:  # noqa: BLE001 - the callers wait for it; the writer must outlive it
            outcomes, numbered = [Failure(error)] * len(writes), {}
        for each, outcome in zip(writes, outcomes, strict=True):
            _resolve(each.done, outcome)
        self._waiters.wake(numbered)

    async def _gather(self) -> list[_Write | None]:
        batch = [await self._queue.get()]
        with contextlib.suppress(asyncio.QueueEmpty):
            while batch[-1] is not None and len(batch) < _BATCH:
                batch.append(self._queue.get_nowait())
        return batch


def _resolve(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return
    if isinstance(outcome, Failure):
        done.set_exception(outcome.error)
    else:
        done.set_result(outcome)


def _last(connection: Connection, *, job_id: str) -> int:
    row = connection.execute("SELECT seq FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return row[0] if row else 0
