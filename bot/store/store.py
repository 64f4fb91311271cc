"""The one door to the store, composed of a part for each noun."""

from __future__ import annotations

from bot.store.asks import Asks
from bot.store.costs import Costs
from bot.store.deliveries import Deliveries
from bot.store.events import Events
from bot.store.grants import Grants
from bot.store.jobs import Jobs
from bot.store.log import Log
from bot.store.retention import Retention
from bot.store.seen import Seen
from bot.store.sessions import Sessions


class Store(Seen, Sessions, Jobs, Events, Deliveries, Asks, Grants, Costs, Log, Retention):
    """Everything that must outlive the process; opened with `async with Store.open(path)`."""
