"""How often Slack lets an app call: tiers by method and workspace, posts by channel, and Retry-After."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

TIERS = {"t1": 1, "t2": 20, "t3": 50, "t4": 100}
"""Calls a minute of one method in one workspace."""
SPECIAL = {"auth.test": 600, "chat.postMessage": 300, "assistant.threads.setStatus": 600}
"""Calls a minute of the methods outside the tiers ("several hundred")."""
BURST = 3
"""Posts that a quiet channel takes at once; after them one a second."""


@dataclass(slots=True)
class Bucket:
    """What a channel still takes: full at `size`, refilled by one each `every` seconds."""

    size: float
    every: float
    level: float
    at: float

    def take(self, now: float) -> float:
        """Take one and return 0, or return the seconds until there is one."""
        self.level = min(self.size, self.level + (now - self.at) / self.every)
        self.at = now
        if self.level >= 1 - 1e-9:
            self.level -= 1
            return 0
        return (1 - self.level) * self.every


@dataclass
class Rates:
    """The budget of one app in one workspace; `minute` is how long a minute lasts here, in seconds.

    `peaks` is the greatest share of each method's minute that was used, `bursts` the posts sooner than a second after
    the last in their channel that were let through.
    """

    tiers: dict[str, str]
    minute: float = 60
    burst: int = BURST
    only: dict[str, int] = field(default_factory=dict)
    enforced: bool = True
    clock: Callable[[], float] = time.monotonic
    used: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    peaks: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    bursts: int = 0
    _windows: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def allowed(self, method: str) -> int:
        """Calls of that method a minute."""
        if method in self.only:
            return self.only[method]
        return SPECIAL.get(method) or TIERS.get(self.tiers.get(method, ""), 100)

    def take(self, method: str, place: str) -> int:
        """Count the call and return 0, or return the whole seconds of its Retry-After."""
        if not self.enforced:
            return 0
        now = self.clock()
        window = self._windows[method]
        while window and window[0] <= now - self.minute:
            window.popleft()
        wait = window[0] + self.minute - now if len(window) >= self.allowed(method) else 0.0
        if not wait and place:
            wait = self._post(f"{method} {place}", now, self.burst if method == "chat.postMessage" else 2)
        if wait:
            return max(1, math.ceil(wait))
        window.append(now)
        self.used[method] += 1
        self.peaks[method] = max(self.peaks[method], len(window) / self.allowed(method))
        return 0

    def _post(self, key: str, now: float, burst: int) -> float:
        every = self.minute / 60
        bucket = self._buckets.setdefault(key, Bucket(burst, every, burst, now))
        wait = bucket.take(now)
        if not wait and bucket.level < bucket.size - 1.01:
            self.bursts += 1
        return wait
