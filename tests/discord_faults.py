"""What goes wrong on the way to Discord, chosen by a seeded generator or ordered by a test."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Ordered:
    """A fault for the next requests of a route; "cut" closes the connection instead of answering."""

    route: str
    status: int | str
    after: bool  # after the request had its effect
    times: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do to one request."""

    status: int | str = 0
    after: bool = False
    delay: float = 0.0  # seconds before anything is done
    retry_after: float = 0.3  # seconds that a 429 asks for


@dataclass
class Faults:
    """Chances from 0 to 1 for each request and event; all are 0 until a test says otherwise.

    `rates` maps a status (429, 500, 502 or "cut") to its chance; `after` is the share of the faults other than 429
    that come after the effect; `delay` is the longest wait before a request is looked at; `repeat` is the chance
    that an event comes twice.
    """

    seed: int = 0
    rates: dict[int | str, float] = field(default_factory=dict)
    after: float = 0.5
    delay: float = 0.0
    repeat: float = 0.0
    retry_after: float = 0.3
    ordered: list[Ordered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def order(self, route: str, status: int | str, *, after: bool = False, times: int = 1) -> None:
        """Let the next requests fail whose "METHOD /path/{template}" starts with `route`."""
        self.ordered.append(Ordered(route, status, after, times))

    def calm(self) -> None:
        """End all faults."""
        self.rates, self.delay, self.repeat = {}, 0.0, 0.0
        self.ordered.clear()

    def of(self, route: str) -> Fault:
        """What happens to this request."""
        for one in self.ordered:
            if route.startswith(one.route):
                one.times -= 1
                if one.times == 0:
                    self.ordered.remove(one)
                return Fault(one.status, one.after and one.status != 429, retry_after=self.retry_after)
        delay = self._random.uniform(0, self.delay) if self.delay else 0.0
        draw = self._random.random()
        for status, chance in self.rates.items():
            if draw < chance:
                after = status != 429 and self._random.random() < self.after
                return Fault(status, after, delay, self.retry_after)
            draw -= chance
        return Fault(delay=delay)

    def repeats(self) -> int:
        """How often more than once an event comes."""
        return int(self.repeat > 0 and self._random.random() < self.repeat)
