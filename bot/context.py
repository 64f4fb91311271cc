"""What the handlers of commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bot.delivery import Deliveries
from bot.lookup import Lookup
from bot.runner import Runner
from bot.site import Site
from bot.store import Store


@dataclass(frozen=True, slots=True)
class Context:
    """The service's parts, as a handler uses them."""

    sites: Mapping[str, Site]
    lookup: Lookup
    store: Store
    runner: Runner
    deliveries: Deliveries
    clock: Callable[[], float]
