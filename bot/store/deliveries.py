"""Deliveries: how far each thread has shown each job."""

from __future__ import annotations

from typing import Any

from bot.database import Connection
from bot.model import Delivery, replace
from bot.store.core import Core

_SELECT = "SELECT job, surface, thread, seq, messages, done FROM deliveries "
_ALL = _SELECT + "WHERE done = ? ORDER BY job, rowid"
_OF_JOB = _SELECT + "WHERE done = ? AND job = ? ORDER BY rowid"
_INSERT = "INSERT INTO deliveries (job, surface, thread, seq, messages, done) VALUES (?, ?, ?, ?, ?, ?)"
_ONCE = _INSERT + " ON CONFLICT DO NOTHING"
_DELIVER = """UPDATE deliveries SET seq = max(seq, ?), messages = coalesce(?, messages), done = max(done, ?)
    WHERE job = ? AND surface = ? AND thread = ?"""


class Deliveries(Core):
    """How far the surfaces are."""

    async def deliveries(self, done: bool = False, *, job: str | None = None) -> list[Delivery]:
        """The deliveries, of one job or of all, that are still to be made, or those that are done."""
        sql, parameters = (_ALL, (done,)) if job is None else (_OF_JOB, (done, job))

        def find_all(connection: Connection) -> list[Delivery]:
            return [_delivery(row) for row in connection.execute(sql, parameters).fetchall()]

        return await self.read(find_all)

    async def add_delivery(self, delivery: Delivery) -> None:
        """Have a thread show a job; one that does already goes on from where it is."""
        row = (
            delivery.job,
            delivery.surface,
            delivery.thread,
            delivery.seq,
            delivery.messages,
            delivery.done,
        )
        await self.write(lambda connection: connection.execute(_ONCE, row).close())

    async def deliver(
        self, job: str, surface: str, thread: str, seq: int, *, messages: str | None = None, done: bool = False
    ) -> None:
        """Note that the thread shows the job up to `seq`; neither `seq` nor `done` ever goes back."""
        row = (seq, messages, done, job, surface, thread)
        await self.write(lambda connection: connection.execute(_DELIVER, row).close())


def _delivery(row: tuple[Any, ...]) -> Delivery:
    delivery = Delivery(*row)
    return replace(delivery, done=bool(delivery.done))
