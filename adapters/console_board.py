"""What runs, what waits for an answer and what it has cost, over all threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from adapters.console_asks import Question
from bot.model import Entry
from executor.events import AskClosed, AskRaised, Completed

HEADLINES = frozenset({"accepted", "ask", "answer", "complete"})
"""The types of events that matter of a thread that is not looked at."""

_CLOSED = 1000
"""Asks that are remembered as closed, since a job that has ended takes no event that says so."""


class Board:
    """Kept up by every entry that is read."""

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        """The thread of each job that has not ended."""
        self.costs: dict[str, float] = {}
        """What each job has cost that ended while we looked on."""
        self._asks: dict[str, tuple[str, str, Question]] = {}
        self._closed: deque[str] = deque(maxlen=_CLOSED)

    def update(self, thread: str, entry: Entry, *, past: bool = False) -> None:
        """Take note of an entry; the cost of a `past` one was spent before this chat."""
        match entry.event:
            case Completed(cost_usd=cost):
                self.running.pop(entry.job, None)
                self._forget(lambda job, question: job == entry.job and not question.lasting)
                if cost and not past:
                    self.costs[entry.job] = cost
                return
            case AskRaised() as ask if ask.id not in self._closed:
                self._asks[ask.id] = (thread, entry.job, Question.raised(ask))
            case AskClosed(id=ask_id):
                self.close(ask_id)
            case _:
                pass
        self.running[entry.job] = thread

    def confirm(self, thread: str, question: Question) -> None:
        """A question that no job waits on."""
        self._asks[question.id] = (thread, "", question)

    def close(self, ask: str) -> None:
        """An ask needs no answer any more."""
        self._asks.pop(ask, None)
        self._closed.append(ask)

    def settle(self) -> None:
        """Forget the asks of jobs that have ended: they may have been answered anywhere."""
        self._forget(lambda job, _: job not in self.running)

    def questions(self, thread: str) -> list[Question]:
        """What waits for an answer in a thread, the oldest first."""
        return [question for where, _, question in self._asks.values() if where == thread]

    def asking(self) -> list[str]:
        """The threads where something waits for an answer."""
        return list(dict.fromkeys(thread for thread, _, _ in self._asks.values()))

    def busy(self, thread: str) -> bool:
        """Whether a job of the thread runs or waits its turn."""
        return thread in self.running.values()

    def _forget(self, which: Callable[[str, Question], bool]) -> None:
        self._asks = {ask: row for ask, row in self._asks.items() if not which(row[1], row[2])}
