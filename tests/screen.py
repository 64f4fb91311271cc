"""A small terminal: what a person would see of what a program writes."""

from __future__ import annotations

import re

from rich.cells import cell_len

_TOKEN = re.compile(
    r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]|([^\x1b])", re.DOTALL
)


class Screen:
    """Rows of cells with a cursor; rows that scroll away are kept in `scrolled`."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self.scrolled: list[str] = []
        self._cells = [[" "] * columns for _ in range(rows)]
        self._x = self._y = 0
        self._wraps = True
        self._held = ""

    def feed(self, text: str) -> None:
        """Take what was written."""
        text = self._held + text
        cut = text.rfind("\x1b", max(0, len(text) - 40))
        if cut >= 0 and not _TOKEN.match(text, cut):
            text, self._held = text[:cut], text[cut:]
        else:
            self._held = ""
        for found in _TOKEN.finditer(text):
            if found[2]:
                self._act(found[1], found[2])
            elif found[3]:
                self._put(found[3])

    @property
    def lines(self) -> list[str]:
        """Everything that was ever in a row and still is: scrolled away, or in sight."""
        seen = ["".join(row).rstrip() for row in self._cells]
        while seen and not seen[-1]:
            seen.pop()
        return self.scrolled + seen

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def _put(self, char: str) -> None:
        if char == "\r":
            self._x = 0
        elif char == "\n":
            self._down()
        elif char == "\b":
            self._x = max(self._x - 1, 0)
        elif char >= " ":
            width = cell_len(char)
            if self._x + width > self.columns:
                if self._wraps:
                    self._x = 0
                    self._down()
                else:
                    self._x = self.columns - width
            self._cells[self._y][self._x : self._x + width] = [char] + [""] * (width - 1)
            self._x += width

    def _down(self) -> None:
        if self._y == self.rows - 1:
            self.scrolled.append("".join(self._cells.pop(0)).rstrip())
            self._cells.append([" "] * self.columns)
        else:
            self._y += 1

    def _act(self, numbers: str, final: str) -> None:
        number = int(numbers) if numbers.isdigit() else 0
        match final:
            case "A":
                self._y = max(self._y - max(number, 1), 0)
            case "B":
                self._y = min(self._y + max(number, 1), self.rows - 1)
            case "C":
                self._x = min(self._x + max(number, 1), self.columns - 1)
            case "D":
                self._x = max(min(self._x, self.columns) - max(number, 1), 0)
            case "K" | "J":
                assert number == 0, f"erases {number}{final}, which this terminal does not know"
                self._cells[self._y][self._x :] = [" "] * (self.columns - min(self._x, self.columns))
                if final == "J":
                    self._cells[self._y + 1 :] = [[" "] * self.columns for _ in range(self.rows - self._y - 1)]
            case "h" | "l":
                self._wraps = (final == "h") if numbers == "?7" else self._wraps
            case "m" | "n":
                pass
            case _:
                raise AssertionError(f"CSI {numbers}{final} is not expected of a chat")
