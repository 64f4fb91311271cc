"""Who waits for a job's next event, and how far the jobs written lately are."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_KNOWN = 4096


class Waiters:
    """Futures by job, resolved when a commit passes their number."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._known: dict[str, int] = {}
        self._waiting: defaultdict[str, set[tuple[int, asyncio.Future[None]]]] = defaultdict(set)

    @contextmanager
    def waiting(self, job: str, seq: int) -> Iterator[asyncio.Future[None]]:
        """A future resolved by the first commit that passes `seq`, already so where one is known to have."""
        beyond: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._known.get(job, 0) > seq:
            beyond.set_result(None)
        waiter = (seq, beyond)
        self._waiting[job].add(waiter)
        try:
            yield beyond
        finally:
            self._waiting[job].discard(waiter)
            if not self._waiting[job]:
                del self._waiting[job]

    def wake(self, numbered: Mapping[str, int]) -> None:
        """Note each job's last event number after a commit and wake whoever waited for it."""
        for job, last in numbered.items():
            self._known.pop(job, None)  # to the end of the order: the oldest are forgotten first
            self._known[job] = last
            for seq, beyond in self._waiting.get(job, ()):
                if last > seq and not beyond.done():
                    beyond.set_result(None)
        while len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
