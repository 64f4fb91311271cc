"""Discord's rate limits: a bucket per route and major parameter, and the global one."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

# Requests and seconds, as last documented or observed; a client has to read the headers.
BUCKETS: dict[str, tuple[int, float]] = {
    "POST /channels/{channel_id}/messages": (5, 5.0),
    "PATCH /channels/{channel_id}/messages/{message_id}": (5, 5.0),
    "DELETE /channels/{channel_id}/messages/{message_id}": (5, 1.0),
    "POST /channels/{channel_id}/typing": (5, 5.0),
    "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me": (1, 0.25),
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me": (1, 0.25),
}
WEBHOOK = (5, 2.0)
OTHER = (10, 1.0)
RENAMES = (2, 600.0)  # of one channel; its headers do not say so
MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token")
KEPT = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """May the request go on, and the headers its answer carries; `retry_after` in seconds when it may not."""

    headers: Mapping[str, str]
    retry_after: float = 0.0
    scope: str = ""


@dataclass
class Limits:
    """What the client has used of each bucket; `per_second` is None for a server without a global limit."""

    per_second: int | None = 50
    buckets: dict[str, tuple[int, float]] = field(default_factory=lambda: dict(BUCKETS))
    peak: int = 0  # the most requests that any second saw
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def take(self, route: str, ids: Mapping[str, str], *, rename: bool = False) -> Verdict:
        """Count a request in, or say how long to wait."""
        now = time.monotonic()
        if "/interactions/" in route:
            return Verdict({})
        webhook = "/webhooks/" in route
        if not webhook and (wait := self._over_global(now)):
            return Verdict({"X-RateLimit-Global": "true"}, wait, "global")
        major = "+".join(ids[name] for name in MAJOR if name in ids)
        if rename and (wait := self._count(f"rename:{major}", RENAMES, now)[1]):
            return Verdict({}, wait, "user")
        limit, window = self.buckets.get(route, WEBHOOK if webhook else OTHER)
        name = hashlib.sha256(route.encode()).hexdigest()[:16]
        left, wait, reset = self._used(f"{name}:{major}", (limit, window), now)
        headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(left), "X-RateLimit-Bucket": name}
        headers |= {"X-RateLimit-Reset": f"{time.time() + reset:.3f}", "X-RateLimit-Reset-After": f"{reset:.3f}"}
        if not wait and not webhook:
            self._recent.append(now)
            self.peak = max(self.peak, len(self._recent))
        return Verdict(headers, wait, "user" if wait else "")

    def _over_global(self, now: float) -> float:
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if self.per_second is None or len(self._recent) < self.per_second:
            return 0.0
        return max(0.001, self._recent[0] + 1 - now)

    def _count(self, key: str, rule: tuple[int, float], now: float) -> tuple[int, float]:
        left, wait, _ = self._used(key, rule, now)
        return left, wait

    def _used(self, key: str, rule: tuple[int, float], now: float) -> tuple[int, float, float]:
        """Requests left, seconds to wait (0 = go on) and seconds until the window ends."""
        limit, window = rule
        start, used = self._windows.get(key, (now, 0))
        if now - start >= window:
            start, used = now, 0
        reset = start + window - now
        if used >= limit:
            return 0, max(reset, 0.001), reset
        if len(self._windows) >= KEPT and key not in self._windows:
            # Windows end within minutes: the oldest of thousands is over.
            del self._windows[next(iter(self._windows))]
        self._windows[key] = (start, used + 1)
        return limit - used - 1, 0.0, reset
