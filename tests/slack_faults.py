"""What goes wrong between an app and Slack, at random with a seed or by order."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

KINDS = ("429", "500", "500 after", "drop", "drop after", "hang", "hang after")
""""after": the effect takes place, and then its answer is lost."""


@dataclass
class Faults:
    """Shares of requests (0 to 1) that go wrong, by kind; seconds of delay; what befalls events and sockets."""

    seed: int = 1
    shares: dict[str, float] = field(default_factory=dict)
    delay: tuple[float, float] = (0, 0)
    hang_seconds: float = 30
    repeats: float = 0
    reorder: float = 0
    socket_drops: float = 0
    met: Counter[str] = field(default_factory=Counter)
    _ordered: list[tuple[str, str]] = field(default_factory=list)
    _refusing_until: float = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def next(self, method: str, kind: str, times: int = 1) -> None:
        """Let the next requests of that method ("" = any) go wrong in that way."""
        assert kind in KINDS, kind
        self._ordered += [(method, kind)] * times

    def refuse(self, seconds: float) -> None:
        """Refuse every connection for that long."""
        self._refusing_until = time.monotonic() + seconds

    def refusing(self) -> bool:
        return time.monotonic() < self._refusing_until

    def stop(self) -> None:
        """Let nothing go wrong from now on."""
        self.shares, self.delay, self.repeats, self.reorder, self.socket_drops = {}, (0, 0), 0, 0, 0
        self._ordered.clear()
        self._refusing_until = 0

    def pick(self, method: str) -> str:
        """The kind of fault that this request meets, or ""."""
        for item in self._ordered:
            if item[0] in ("", method):
                self._ordered.remove(item)
                self.met[item[1]] += 1
                return item[1]
        roll = self.dice.random()
        for kind, share in self.shares.items():
            if roll < share:
                self.met[kind] += 1
                return kind
            roll -= share
        return ""

    def chance(self, share: float) -> bool:
        return share > 0 and self.dice.random() < share

    def wait(self) -> float:
        return self.dice.uniform(*self.delay)
