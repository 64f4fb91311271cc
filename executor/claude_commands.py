"""The messages sent to Claude, by uuid, and how far each one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from executor.lenient import clean, number

REMEMBERED = 128
"""Messages that wait, and messages that are done and still known so that one sent again is not waited for."""
LONGEST = 200


class AckState(StrEnum):
    """How far a message is."""

    SENT = "sent"
    QUEUED = "queued"
    """The CLI has it."""
    STARTED = "started"
    """Claude has it."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Ack:
    """A message came further; never told twice."""

    uuid: str
    state: AckState


class Commands:
    """The messages that wait, and the last ones that are done."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._waiting = {uuid: AckState(state) for uuid, state in kept.get("waiting", {}).items()}
        self._done: dict[str, None] = dict.fromkeys(kept.get("done", ()))
        self._turns: int = kept.get("turns", 0)
        self._told: bool = kept.get("told", False)

    def kept(self) -> dict[str, Any]:
        """What to remember."""
        waiting = {uuid: state.value for uuid, state in self._waiting.items()}
        kept = {"waiting": waiting, "done": list(self._done), "turns": self._turns, "told": self._told}
        return {key: value for key, value in kept.items() if value}

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be done."""
        return bool(self._waiting) or self._turns > 0

    @property
    def done(self) -> bool:
        """Whether anything was done, in this process or before it."""
        return bool(self._done)

    def expect(self, uuid: str) -> None:
        """A message is being sent."""
        if uuid not in self._done:
            self._waiting.setdefault(uuid, AckState.SENT)

    def lifecycle(self, uuid: str, state: str) -> list[Ack]:
        """What a `command_lifecycle` line tells."""
        self._told = True
        try:
            return self._move(uuid, AckState(state))
        except ValueError:
            return []

    def replayed(self, uuid: str) -> list[Ack]:
        """The CLI repeated a message as it gave it to Claude, or because it had it before."""
        return self._move(uuid, AckState.STARTED) if uuid in self._waiting else []

    def result(self, event: Mapping[str, Any]) -> list[Ack]:
        """A turn is over; `command_lifecycle` lines say which messages were in it, where the CLI has them."""
        self._turns = int(number(event.get("queued_turn_count")))
        started = [] if self._told else [uuid for uuid, state in self._waiting.items() if state is AckState.STARTED]
        return [ack for uuid in started for ack in self._move(uuid, AckState.COMPLETED)]

    def _move(self, uuid: str, state: AckState) -> list[Ack]:
        uuid = clean(uuid[:LONGEST])
        if not uuid or uuid in self._done or self._waiting.get(uuid) is state:
            return []
        if state in (AckState.COMPLETED, AckState.CANCELLED):
            self._waiting.pop(uuid, None)
            self._done[uuid] = None
        else:
            self._waiting[uuid] = state  # also back to queued: an interrupt returns what the turn had taken up
        while len(self._waiting) > REMEMBERED:
            del self._waiting[next(iter(self._waiting))]
        while len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
        return [Ack(uuid, state)]
