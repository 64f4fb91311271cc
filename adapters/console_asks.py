"""Asks at the terminal: which key or line is which answer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.model import Ask, AskKind
from bot.safetext import one_line
from executor.events import AskRaised

_REFUSALS = ("no", "deny", "reject", "keep", "don't", "cancel")
_DEFAULTS = {AskKind.CONFIRM: ("yes", "no"), AskKind.PUSH: ("push", "no")}


@dataclass(frozen=True, slots=True)
class Question:
    """An ask that waits, with the answers it offers."""

    id: str
    title: str
    choices: tuple[str, ...]
    multiple: bool = False
    kind: AskKind = AskKind.CONFIRM

    @classmethod
    def raised(cls, ask: AskRaised) -> Question:
        """The question in an event."""
        kind = AskKind(ask.kind)
        usual = () if kind is AskKind.QUESTION else _DEFAULTS.get(kind, ("allow", "deny"))
        return cls(ask.id, one_line(ask.title, 100), ask.choices or usual, ask.multiple, kind)

    @classmethod
    def replied(cls, ask: Ask) -> Question:
        """The question in a reply: a confirmation of a command."""
        try:
            title = str(json.loads(ask.request)["title"])
        except (KeyError, TypeError, ValueError):
            title = "Go on?"
        return cls(ask.id, one_line(title, 100), _DEFAULTS.get(ask.kind, ("allow", "deny")))

    @property
    def letters(self) -> bool:
        """Whether a and y stand for the first choice, and d and n for the refusal; to a question they are words."""
        return self.kind is not AskKind.QUESTION

    @property
    def lasting(self) -> bool:
        """Whether it may be answered when its job has ended."""
        return self.kind in (AskKind.PUSH, AskKind.DOMAIN)

    @property
    def keys(self) -> str:
        """The keys that answer, or mark a choice, at once."""
        return "123456789"[: len(self.choices)] + ("ayAYdnDN" if self.letters else "")

    @property
    def hint(self) -> str:
        """The keys in words."""
        if not self.choices:
            return "type the answer"
        chosen = [f"{number} {one_line(choice, 24)}" for number, choice in enumerate(self.choices[:9], 1)]
        if self.letters and len(self.choices) == 2:
            return f"y {one_line(self._yes, 24)} · n {one_line(self._no, 24)}"
        return " · ".join([*chosen, "then Enter" if self.multiple else "or type an answer"])

    def key(self, key: str) -> str:
        """The choice that a key stands for."""
        if key.isdigit():
            return self.choices[int(key) - 1]
        return self._yes if key in "ayAY" else self._no

    def line(self, text: str) -> str | list[str]:
        """What a written line answers: the choice it names by number, letter or beginning, or its own words."""
        text = text.strip()
        if text in self.keys and len(text) == 1:
            return self.key(text)
        numbers = text.replace(",", " ").split()
        if self.multiple and numbers and all(n.isdigit() and 0 < int(n) <= len(self.choices) for n in numbers):
            return [self.choices[int(n) - 1] for n in numbers]
        named = [choice for choice in self.choices if choice.casefold() == text.casefold()]
        return named[0] if named else text

    @property
    def _yes(self) -> str:
        return self.choices[0]

    @property
    def _no(self) -> str:
        refusals = [choice for choice in self.choices if choice.casefold().startswith(_REFUSALS)]
        return refusals[-1] if refusals else self.choices[-1]
