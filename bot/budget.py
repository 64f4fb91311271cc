"""What may be sent to one place, and who is next: one budget, shared by every kind of message."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field
from enum import IntEnum


class Urgency(IntEnum):
    """What goes first when not everything can go at once."""

    FINAL = 0
    ASK = 1
    REPLY = 2
    NOTICE = 3
    STREAM = 4
    STATUS = 5


@dataclass(order=True)
class _Waiter:
    urgency: Urgency
    number: int
    granted: asyncio.Future[None] = field(compare=False)


class Budget:
    """So many requests a second, some of them at once; the last ones are kept for what is urgent."""

    def __init__(self, rate: float, burst: int, *, reserve: int = 1, below: Budget | None = None) -> None:
        """`rate` a second, `burst` at once; `reserve` of them not for streams and status; `below` is shared by many."""
        self._rate = rate
        self._burst = burst
        self._reserve = min(reserve, burst - 1)
        self._below = below
        self._tokens = float(burst)
        self._filled = asyncio.get_running_loop().time()
        self._held_until = 0.0
        self._waiters: list[_Waiter] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, urgency: Urgency) -> None:
        """Return when a request of this urgency may be sent."""
        waiter = _Waiter(urgency, next(self._numbers), asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiters, waiter)
        self._serve()
        try:
            await waiter.granted
            if self._below is not None:
                await self._below.take(urgency)
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise

    def _give_back(self, waiter: _Waiter) -> None:
        """Undo what was taken for a request that is not made."""
        if any(each is waiter for each in self._waiters):
            self._waiters = [each for each in self._waiters if each is not waiter]
            heapq.heapify(self._waiters)
        elif waiter.granted.done() and not waiter.granted.cancelled():
            self._tokens = min(float(self._burst), self._tokens + 1)
        self._serve()

    def free(self, urgency: Urgency) -> bool:
        """Whether a request of this urgency could be sent at once."""
        self._fill()
        return not self._waiters and self._wait(urgency) <= 0 and (self._below is None or self._below.free(urgency))

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the platform said so."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)
        self._tokens = min(self._tokens, 1.0)

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        self._tokens = min(float(self._burst), self._tokens + (now - self._filled) * self._rate)
        self._filled = now

    def _wait(self, urgency: Urgency) -> float:
        """Seconds until a request of this urgency may go; 0 or less for now."""
        need = 1.0 + (self._reserve if urgency >= Urgency.STREAM else 0)
        held = self._held_until - asyncio.get_running_loop().time()
        return max(held, (need - self._tokens) / self._rate)

    def _serve(self) -> None:
        """Let the most urgent go while the budget allows, and come back when it allows more."""
        self._fill()
        while self._waiters and self._wait(self._waiters[0].urgency) <= 1e-9:
            waiter = heapq.heappop(self._waiters)
            if not waiter.granted.done():
                self._tokens -= 1
                waiter.granted.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiters:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.001, self._wait(self._waiters[0].urgency)), self._serve)
