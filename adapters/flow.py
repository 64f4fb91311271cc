"""Text that arrives in pieces, laid out in rows behind a margin."""

from __future__ import annotations

import re

from adapters.paint import Paint, fold
from bot.safetext import clean

MARGIN = "  "
"""The first column is ours: a stranger's text never begins there, and so cannot pass for a line of rdev."""

_UNFINISHED = re.compile(r"(?:\x1b[^A-Za-z\x07\n]{0,64}|\r)\Z")
_LIST = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])?\s*")
_INLINE = re.compile(r"`([^`\n]+)`|\*\*(\S(?:[^\n]*?\S)?)\*\*")


class Flow:
    """One stranger's text; a carriage return begins the row anew, as on a terminal."""

    def __init__(self, paint: Paint, *, prose: bool) -> None:
        self._paint = paint
        self._prose = prose
        self._code = False
        self._held = ""
        self._line = ""
        self._column = 0
        """Characters of the line so far, in rows that are gone too: tabs count from its beginning."""
        self._hang = -1
        """The depth of later rows of a line that was begun; -1 at its first row."""

    def feed(self, text: str, width: int) -> list[str]:
        """The rows that are complete now; 0 for no limit on their width."""
        text = self._held + text
        unfinished = _UNFINISHED.search(text, max(0, len(text) - 70))
        self._held = unfinished[0] if unfinished else ""
        text = text[: len(text) - len(self._held)].replace("\r\n", "\n")
        *lines, last = text.split("\n")
        rows: list[str] = []
        for line in lines:
            self._add(line)
            rows += self._rows(width, ended=True)
        self._add(last)
        return rows + self._rows(width, ended=False)

    def partial(self) -> str:
        """The row that is being written."""
        return self._styled(self._line) if self._line.strip() else ""

    def close(self, width: int) -> list[str]:
        """What is left when no more comes."""
        self._held = ""
        rows = self._rows(width, ended=True) if self._line else []
        self._code = False
        return rows

    def _add(self, piece: str) -> None:
        if "\r" in piece:
            self._line, self._column, piece = "", 0, piece.rpartition("\r")[2]
        stop = self._column % 8
        piece = (" " * stop + clean(piece).replace("\n", " ")).expandtabs(8)[stop:]
        self._line += piece
        self._column += len(piece)

    def _rows(self, width: int, *, ended: bool) -> list[str]:
        words = self._prose and not self._code
        hang = self._hang if self._hang >= 0 else _depth(self._line) if words else 0
        rows = fold(self._line, width - len(MARGIN), words=words, hang=hang) if width else [self._line]
        self._line = "" if ended else rows.pop()
        self._column = 0 if ended else self._column
        self._hang = -1 if ended else hang if rows else self._hang
        done = [self._styled(row) for row in rows]
        if ended and self._prose and rows and rows[0].lstrip().startswith("```"):
            self._code = not self._code
        return done

    def _styled(self, row: str) -> str:
        if not row.strip():
            return ""
        if not self._prose:
            return MARGIN + row
        row = row.rstrip(" ")  # which may be wider than the terminal
        if row.lstrip().startswith("```"):
            return MARGIN + self._paint.dim(row)
        if self._code:
            return MARGIN + self._paint.code(row)
        if row.startswith("#") and self._paint.colour:
            return MARGIN + self._paint.bold(row.lstrip("# "))
        return MARGIN + (_INLINE.sub(self._inline, row) if self._paint.colour else row)

    def _inline(self, found: re.Match[str]) -> str:
        return self._paint.code(found[1]) if found[1] else self._paint.bold(found[2])


def _depth(line: str) -> int:
    found = _LIST.match(line)
    return min(found.end(), 12) if found else 0
