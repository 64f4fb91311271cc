"""Ids, times, flags and component trees as Discord writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

Wire = dict[str, Any]
EPOCH = 1_420_070_400_000
V2 = 1 << 15  # the message is made of components alone
SILENT = 1 << 12
EPHEMERAL = 1 << 6
LOADING = 1 << 7
HAS_THREAD = 1 << 5


class Snowflakes:
    """Rising ids that carry the time, as Discord's do."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = max(self._last + 1, int(time.time() * 1000) - EPOCH << 22)
        return self._last


def stamp(when: float) -> str:
    """Unix seconds as Discord writes a time."""
    return datetime.fromtimestamp(when, UTC).isoformat()


def walk(components: Sequence[Wire], path: str = "components") -> Iterator[tuple[str, Wire]]:
    """Every component with its path, parents first."""
    for index, component in enumerate(components):
        yield from _walk_one(component, f"{path}.{index}")


def _walk_one(component: Wire, path: str) -> Iterator[tuple[str, Wire]]:
    yield path, component
    yield from walk(component.get("components") or [], f"{path}.components")
    for key in ("accessory", "component"):
        if child := component.get(key):
            yield from _walk_one(child, f"{path}.{key}")
