"""Cut running text into pieces where a person would: between paragraphs, lines or words, and fences stay whole."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
_LATE_ENOUGH = 0.5
"""A better kind of break is taken when it leaves at least this share of the piece full."""


def cut(text: str, limit: int) -> tuple[str, str]:
    """The first piece of a text that is longer than the limit, closed where a fence is cut, and the rest, reopened.

    The piece has at most `limit` characters; `limit` must leave room for a fence's own lines.
    """
    at = _break(text, limit - _closing_room(text[:limit]))
    piece, rest = text[:at], text[at:]
    opened = open_fence(piece)
    if opened is None:
        return piece.rstrip("\n"), rest.lstrip("\n")
    mark, language = opened
    return f"{piece.rstrip(chr(10))}\n{mark}", f"{mark}{language}\n{rest.removeprefix(chr(10))}"


def open_fence(text: str) -> tuple[str, str] | None:
    """The mark and the language of the fence that the text leaves open."""
    opened: tuple[str, str] | None = None
    for found in _FENCE.finditer(text):
        mark, language = found[1], found[2].strip()
        if opened is None:
            opened = (mark, language)
        elif mark[0] == opened[0][0] and len(mark) >= len(opened[0]) and not language:
            opened = None
    return opened


def _closing_room(text: str) -> int:
    longest = max((len(found[1]) for found in _FENCE.finditer(text)), default=0)
    return longest + 1 if longest else 0


def _break(text: str, limit: int) -> int:
    """Where to cut, at most `limit` characters in; never before the first tenth, so that every piece moves on."""
    head = text[: limit + 1]
    for mark in ("\n\n", "\n", ". ", " "):
        at = head.rfind(mark, 0, limit + 1)
        if at >= limit * (_LATE_ENOUGH if mark != " " else 0.1):
            return at + (len(mark) if mark in (". ", " ") else 0)
    return limit
