"""Waiting for something to become true in the workspace, woken by whatever happens there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pulse:
    """Beats when anything happened; who waits looks again."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], object], seconds: float | None = 10) -> None:
        """Return when the condition holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self._next.wait()
