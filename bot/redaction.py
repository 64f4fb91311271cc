"""Take secrets out of what people and programs wrote, before anything is stored or shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote

from executor.events import Event

MARK = "[redacted]"

_SHORTEST = 8
"""Values below this length would redact ordinary words."""
_HEAD = 5
"""A tail that shows this much of a secret's beginning is held back until more has come."""
_LONGEST_WAIT = 16_384
"""Characters held back at most."""

# Shapes of tokens whose value we cannot know: a literal start that is cheap to look for, and the whole.
_SHAPES = (
    ("sk-", r"sk-[A-Za-z0-9_-]{20,}"),
    ("gh", r"gh[pousr]_[A-Za-z0-9]{30,}"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
    ("glpat-", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("xox", r"xox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("xapp-", r"xapp-[A-Za-z0-9-]{10,}"),
    ("AKIA", r"AKIA[0-9A-Z]{16}"),
    ("AIza", r"AIza[0-9A-Za-z_-]{35}"),
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    # A run that no more parts follow matches too, and is kept: tried from each `eyJ` in it, it would take minutes.
    ("eyJ", r"eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})?"),
    ("://", r"://[^\s/:@\"']{1,100}:[^\s/@\"']{3,200}(?=@)"),
)
# Each a pattern of its own: one that begins with its literal is searched for many times faster than an alternation.
_PATTERNS = tuple((start, re.compile(shape)) for start, shape in _SHAPES)
_STARTS = (*(start for start, _ in _SHAPES if start != "://"), "-----BEGIN")
_LAST_WORD = re.compile(r"[^\s\"'`=,;()<>{}\[\]|]*\Z")
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_END = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_UNENCODABLE = re.compile("[\ud800-\udfff]")


class Redactor:
    """Replaces known secret values, also encoded, and strings shaped like tokens."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        # The first characters may have gone out in an earlier piece, so the rest alone must be found too.
        self._rests = [(form[_HEAD - 1 :], re.compile(_with_optional_head(form))) for form in self._forms]

    def clean(self, text: str) -> str:
        """The text without secrets, and without characters that cannot be stored."""
        text = _storable(text)
        for rest, whole in self._rests:
            if rest in text:
                text = whole.sub(MARK, text)
        for start, shape in _PATTERNS:
            if start in text:
                text = shape.sub(_marked, text)
        return _without_keys(text)

    def clean_value(self, value: Any) -> Any:
        """A JSON value with every string in it cleaned."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list | tuple):
            return type(value)(self.clean_value(item) for item in value)
        if isinstance(value, dict):
            return {self.clean(str(key)): self.clean_value(item) for key, item in value.items()}
        return value

    def clean_event(self, event: Event) -> Event:
        """The event with every text in it cleaned."""
        changes = {}
        for field in fields(event):
            value = getattr(event, field.name)
            if isinstance(value, str | tuple) and (cleaned := self.clean_value(value)) != value:
                changes[field.name] = cleaned
        return replace(event, **changes) if changes else event

    def settled(self, text: str) -> int:
        """How many characters of the text cannot be the beginning of a secret that goes on."""
        tail_at = max(0, len(text) - _LONGEST_WAIT)
        tail = text[tail_at:]
        held = min((self._known_begin(tail), _shape_begin(tail)), default=len(tail))
        return tail_at + held if held or not tail_at else len(text)

    def _known_begin(self, tail: str) -> int:
        first = len(tail)
        for form in self._forms:
            at = tail.rfind(form[:_HEAD], max(0, len(tail) - len(form)))
            while at != -1:
                if form.startswith(tail[at:]):
                    first = min(first, at)
                at = tail.rfind(form[:_HEAD], max(0, len(tail) - len(form)), at)
        return first


def _storable(text: str) -> str:
    """The text with U+FFFD for what is no character, or what SQLite would end it at."""
    text = text.replace("\0", "\ufffd")
    try:
        text.encode()  # many times faster than to look for what it cannot encode
    except UnicodeEncodeError:
        return _UNENCODABLE.sub("\ufffd", text)
    return text


def _marked(found: re.Match[str]) -> str:
    """What stands in the place of something with a token's shape."""
    if found[0].startswith("://"):
        return "://" + MARK
    if found[0].startswith("eyJ") and "." not in found[0]:
        return found[0]
    return MARK


def _without_keys(text: str) -> str:
    """The text without private keys, read once: where one key does not end, none after it does."""
    parts, at = [], 0
    while (begin := _KEY_BEGIN.search(text, at)) and (end := _KEY_END.search(text, begin.end())):
        parts += [text[at : begin.start()], MARK]
        at = end.end()
    return "".join(parts) + text[at:] if parts else text


def _shape_begin(tail: str) -> int:
    begins = [match.start() for match in _KEY_BEGIN.finditer(tail)]
    if begins and "-----END" not in tail[begins[-1] :]:
        return begins[-1]
    word = _LAST_WORD.search(tail[-512:])
    assert word is not None  # the pattern matches the empty end
    run = word.group()
    if run and any(start in run or (len(run) > 1 and start.startswith(run)) for start in _STARTS):
        return len(tail) - len(run)
    return len(tail)


def _with_optional_head(form: str) -> str:
    head, rest = form[: _HEAD - 1], form[_HEAD - 1 :]
    pattern = ""
    for character in head:
        pattern = f"(?:{pattern}{re.escape(character)})?"
    return pattern + re.escape(rest)


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as common encodings show it."""
    raw = secret.encode()
    forms = {secret, quote(secret, safe=""), raw.hex(), raw.hex().upper(), secret[::-1], secret.replace("\n", "\\n")}
    for shift in range(3):
        # Inside a longer base64 text a value has one of three faces; the first and last characters mix with others.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(b"\0" * shift + raw).decode().rstrip("=")
            skip = (0, 2, 3)[shift]
            forms.add(coded[skip : len(coded) - (1 if (shift + len(raw)) % 3 else 0)])
    forms.update(line for line in secret.splitlines() if len(line) >= 3 * _SHORTEST)
    return {form for form in forms if len(form) >= _SHORTEST}
