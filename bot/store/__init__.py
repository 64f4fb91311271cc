"""The store: everything that must outlive the process, in one SQLite file."""

from bot.store.costs import Cost
from bot.store.store import Store

__all__ = ["Cost", "Store"]
