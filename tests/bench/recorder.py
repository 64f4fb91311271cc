"""A surface that notes when each event was really shown by another."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.transcript import Transcript
from bot.model import Entry
from executor.events import Completed, Output


@dataclass(slots=True)
class Shown:
    """What was shown of one job."""

    first: dict[str, float] = field(default_factory=dict)
    """When the first event of each type was."""
    last: float = 0.0
    """When the last event was."""
    size: int = 0
    """Characters of output."""
    state: str = ""
    """How it ended, once it has."""
    torn: str = ""


class Recorder:
    """The console's transcript, and beside it the times; a line of output that is a clock gives a lag."""

    name = Transcript.name

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._news = asyncio.Event()
        self.jobs: defaultdict[str, Shown] = defaultdict(Shown)
        self.lags: list[float] = []
        """Seconds from each clock that a job printed until it was shown."""

    async def open(self, title: str, channel: str) -> str:
        """A thread of the transcript."""
        return await self._transcript.open(title)

    async def shown(self, thread: str, job: str) -> int:
        """The last number that the transcript shows."""
        return await self._transcript.shown(thread, job)

    async def show(self, thread: str, entries: Sequence[Entry]) -> None:
        """Show the entries and note when that was done."""
        await self._transcript.show(thread, entries)
        now = time.time()
        shown = self.jobs[entries[0].job]
        shown.last = now
        for entry in entries:
            shown.first.setdefault(entry.event.type, now)
            match entry.event:
                case Output(text):
                    shown.size += len(text)
                    self._read(shown, text, now)
                case Completed(state):
                    shown.state = state
                case _:
                    pass
        self._news.set()

    async def until(self, job: str, kind: str) -> Shown:
        """What was shown of the job, once there is an event of that type among it."""
        while kind not in self.jobs[job].first:
            self._news.clear()
            await self._news.wait()
        return self.jobs[job]

    def _read(self, shown: Shown, text: str, now: float) -> None:
        if len(text) > 4096:
            return  # not a job that prints its clock
        *lines, shown.torn = (shown.torn + text).split("\n")
        for line in lines:
            try:
                self.lags.append(now - float(line))
            except ValueError:
                continue
