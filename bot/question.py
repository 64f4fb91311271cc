"""What a person is to be asked."""

from __future__ import annotations

from dataclasses import dataclass

from bot.model import AskKind


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is to be asked, before it is an ask of a job."""

    key: str
    """Unique in the job, and the same however often it comes up."""
    kind: AskKind
    title: str
    body: str
    choices: tuple[str, ...]
    request: str
    """What whoever asks needs to make use of the answer."""
    multiple: bool = False
