"""Turn a job's journal into events that may be stored: whole lines, merged pieces, no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.model import AskKind
from bot.question import Question
from bot.redaction import Redactor
from executor.claude_asks import AskRequest
from executor.claude_result import TurnResult
from executor.claude_translate import Translation, Translator
from executor.events import Event, Output, Text, Usage

_PIECE = 65_536
"""Characters of text in one event at most."""
_HELD = 262_144
"""Bytes of journal held back at most while they may be the beginning of a secret."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stretch of the journal says, and how far it has been read."""

    events: tuple[Event, ...]
    offset: int
    """Bytes of the journal these events account for."""
    follow: str
    """What a reader that begins at the offset must know, as JSON."""
    asks: tuple[Question, ...] = ()
    withdrawn: tuple[str, ...] = ()
    """Requests that the CLI took back."""
    result: TurnResult | None = None


class JournalReader(Protocol):
    """Reads one kind of journal."""

    def read(self, data: bytes, *, final: bool = False) -> Reading | None:
        """The events of these bytes and of what was held back before; None when all is still held back.

        `final` says that no more bytes come, so that nothing is held back any longer.
        """


class OutputReader:
    """Reads the bytes of a shell or git command."""

    def __init__(self, redactor: Redactor, offset: int) -> None:
        self._redactor = redactor
        self._offset = offset
        self._held = b""

    def read(self, data: bytes, *, final: bool = False) -> Reading | None:
        """Pieces of output; a character or secret that is not whole waits."""
        data = self._held + data
        # surrogateescape, because the way back must give the same bytes for any output.
        text = data[: len(data) if final else _whole_characters(data)].decode("utf-8", "surrogateescape")
        if not final and len(data) <= _HELD:
            text = text[: self._redactor.settled(text)]
        size = len(text.encode("utf-8", "surrogateescape"))
        self._held = data[size:]
        if not size:
            return None
        self._offset += size
        clean = self._redactor.clean(text)
        events = tuple(Output(clean[at : at + _PIECE]) for at in range(0, len(clean), _PIECE))
        return Reading(events, self._offset, "")


class ClaudeReader:
    """Reads the lines of the Claude CLI's stream-json."""

    def __init__(self, redactor: Redactor, offset: int, follow: str) -> None:
        self._redactor = redactor
        self._offset = offset
        self._torn = bytearray()
        self._lines: list[bytes] = []
        saved = json.loads(follow) if follow else {}
        self._state: str = saved.get("translator", "")
        self._translator = Translator(self._state)
        self.result = TurnResult(**saved["result"], usage=Usage()) if saved.get("result") else None

    def read(self, data: bytes, *, final: bool = False) -> Reading | None:
        """Events of the whole lines; lines whose text may be the beginning of a secret wait for the next."""
        self._torn += data
        if b"\n" in data or final:
            *whole, rest = bytes(self._torn).split(b"\n")
            self._lines += [line + b"\n" for line in whole]
            self._torn = bytearray(rest)
            if final and rest:
                self._lines.append(rest)
        if not self._lines:
            return None
        lines = self._lines
        translator, parts, settled = self._translate(lines)
        if settled < len(lines) and not final and sum(map(len, lines)) <= _HELD:
            lines = lines[:settled]
            translator, parts, _ = self._translate(lines)
        self._translator, self._state = translator, translator.state()
        self._lines = self._lines[len(lines) :]
        if not lines:
            return None
        self._offset += sum(map(len, lines))
        return self._reading(parts)

    def idle(self, sent: Iterable[str]) -> bool:
        """Whether the turn is over and none of the messages that were sent is still to be done."""
        for uuid in sent:
            self._translator.expect(uuid)
        return self._translator.idle

    def _translate(self, lines: Sequence[bytes]) -> tuple[Translator, list[Translation], int]:
        """What the lines say, and after how many of them no secret can have begun."""
        translator = Translator(self._state)
        parts: list[Translation] = []
        tails: dict[str, str] = {}
        settled = 0
        for number, line in enumerate(lines, 1):
            part = translator.feed(line)
            parts.append(part)
            for event in part.events:
                if isinstance(event, Text):
                    tails[event.parent] = "" if event.end else tails.get(event.parent, "") + event.text
            if all(self._redactor.settled(tail) == len(tail) for tail in tails.values()):
                settled, tails = number, {}
        return translator, parts, settled

    def _reading(self, parts: Sequence[Translation]) -> Reading:
        for part in parts:
            if part.result is not None:
                self.result = replace(part.result, sentence=self._redactor.clean(part.result.sentence))
        last = self.result
        result = {"ok": last.ok, "reason": last.reason, "sentence": last.sentence} if last else None
        events = _merged([event for part in parts for event in part.events])
        return Reading(
            tuple(self._redactor.clean_event(event) for event in events),
            self._offset,
            json.dumps({"translator": self._state, "result": result}),
            tuple(_question(ask) for part in parts for ask in part.asks),
            tuple(request for part in parts for request in part.withdrawn),
            self.result,
        )


def _question(ask: AskRequest) -> Question:
    return Question(ask.id, AskKind(ask.kind), ask.title, ask.body, ask.choices, ask.request, ask.multiple)


def _merged(events: Sequence[Event]) -> list[Event]:
    """The events with neighbouring pieces of one text made one."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if (
            isinstance(event, Text)
            and isinstance(last, Text)
            and not last.end
            and last.parent == event.parent
            and len(last.text) + len(event.text) <= _PIECE
        ):
            merged[-1] = replace(last, text=last.text + event.text, end=event.end)
        else:
            merged.append(event)
    return merged


def _whole_characters(data: bytes) -> int:
    """The length without a UTF-8 character that is cut at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if need > back else len(data)
    return len(data)
