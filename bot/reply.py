"""What the service answers to a command."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.model import Ask


@dataclass(frozen=True, slots=True)
class Reply:
    """A sentence or a table, and where the work goes on."""

    text: str
    thread: str = ""
    """The thread that shows the work, where there is one."""
    job: str = ""
    error: bool = False
    asks: tuple[Ask, ...] = ()
    """What must be answered before anything happens."""

    def with_note(self, note: str) -> Reply:
        """The reply with one more sentence."""
        return replace(self, text=f"{self.text}\n{note}" if self.text else note)
