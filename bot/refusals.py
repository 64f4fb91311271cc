"""Connections of a job that the egress filter refused: each told, and each host asked about once."""

from __future__ import annotations

import json

from bot.model import Ask, AskKind
from bot.question import Question
from bot.record import Record
from bot.store import Store
from executor.backend import Denial
from executor.events import Event, Notice
from executor.squid import pattern

_DOMAIN_ASKS = 10
"""Domains that one job may ask for; more are only told."""


class Refusals:
    """What one job was refused."""

    def __init__(self, record: Record, store: Store) -> None:
        self._record = record
        self._store = store
        self._asked: set[tuple[str, int]] = set()

    async def denied(self, denial: Denial) -> None:
        """Tell, and once for each host ask, about a refused connection."""
        where = denial.host if denial.port in (80, 443) else f"{denial.host}:{denial.port}"
        times = f" {denial.count} times" if denial.count > 1 else ""
        text = f"The egress filter refused {denial.host}:{denial.port}{times}."
        if _grantable(where):
            text += f" To allow it here: /rdev allow {where}"
        events: list[Event] = [Notice("warning", "denied", text)]
        asks: list[Ask] = []
        if _grantable(where) and (denial.host, denial.port) not in self._asked and len(self._asked) < _DOMAIN_ASKS:
            self._asked.add((denial.host, denial.port))
            choices = ("this session", f"all of {self._record.job.project}", "no")
            body = f"Whatever may be reached can be sent anything: {where}"
            question = Question(
                f"domain {where}", AskKind.DOMAIN, f"May it reach {where}?", body, choices, json.dumps(where)
            )
            ask, raised = self._record.ask(question)
            if await self._store.ask(ask.id) is None:
                asks.append(ask)
                events.append(raised)
        await self._record.append(events, asks=asks)


def _grantable(where: str) -> bool:
    """Whether people could allow it at all: an address, they could not."""
    try:
        pattern(where)
    except ValueError:
        return False
    return True
