"""Single lines of ours, drawn for a terminal's width and colours."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len

from adapters.flow import MARGIN
from adapters.paint import Paint, fit, fold
from bot.model import AskKind
from bot.rendering import Line, Tone, excerpt
from bot.safetext import reveal
from executor.events import AskRaised

_NAMES = 5
"""Tool names are padded to this, so that what the tools did stands in one column."""
_SAID = 12
"""Rows of a person's own words that are repeated."""


class Lines:
    """Draws lines; the width is asked for each time, and 0 means that there is no limit."""

    def __init__(self, paint: Paint, width: Callable[[], int]) -> None:
        self._paint = paint
        self.width = width

    def tool(self, line: Line, *, inner: bool) -> str:
        """A tool's line in one row, whatever must be left out for it; `inner` for a subagent's."""
        start = f"{'┆ ' if inner else ''}{line.mark} "
        head = line.head.ljust(_NAMES) if line.text else line.head
        room = self.width() - len(start) - cell_len(head) - len(line.note) - 5
        text = fit(line.text, max(room, 8)) if self.width() else line.text
        mark = self._paint.dim("┆ ") * inner + self._paint.tone(line.tone, line.mark)
        return f"{mark} " + "  ".join(
            part for part in (self._paint.bold(head), text, self._paint.dim(line.note)) if part
        )

    def whole(self, line: Line) -> list[str]:
        """A line in as many rows as it takes."""
        text = "  ".join(part for part in (line.head, line.text) if part)
        rows = self.folded(text)
        if line.tone is Tone.QUIET:
            rows = [self._paint.dim(row) for row in rows]
        elif line.tone is Tone.ASK:
            rows = [self._paint.bold(row) for row in rows]
        elif len(rows) == 1:
            rows = [self._paint.bold(line.head) + rows[0][len(line.head) :]] if line.text else rows
        if line.note:
            fits = not self.width() or cell_len(text) + cell_len(line.note) + 4 <= self.width()
            rows = (
                [*rows[:-1], f"{rows[-1]}  {self._paint.dim(line.note)}"]
                if fits
                else [*rows, self._paint.dim(line.note)]
            )
        return self._marked(line, rows)

    def said(self, line: Line) -> list[str]:
        """A person's own words, a long text only by its beginning."""
        rows = self.folded(line.head)
        if len(rows) > _SAID:
            rows = [*rows[: _SAID - 1], f"… and {len(rows) - _SAID + 1} more lines"]
        rows = [self._paint.bold(row) for row in rows]
        if line.note:
            rows[0] += "  " + self._paint.dim(line.note)
        return self._marked(line, rows)

    def ask(self, ask: AskRaised) -> list[str]:
        """What an ask is about, never shortened: what is out of sight cannot be judged."""
        rows = []
        if ask.body.strip() != ask.title.strip():
            rows = [MARGIN + row for row in self.folded(reveal(ask.body.strip("\n")))]
        plain = ask.kind != AskKind.QUESTION and len(ask.choices) <= 2  # yes or no: the keys say as much
        for number, choice in enumerate(() if plain else ask.choices, 1):
            first, *more = self.folded(reveal(choice).replace("\n", " "), less=5)
            rows.append(f"{MARGIN}{self._paint.tone(Tone.ASK, str(number))}  {first}")
            rows += [f"{MARGIN}   {row}" for row in more]
        return rows

    def failure(self, output: str) -> list[str]:
        """The end of what a failed tool printed."""
        return [MARGIN + self._paint.dim(row) for row in self.folded(excerpt(output))[-8:]] if output.strip() else []

    def folded(self, text: str, less: int = len(MARGIN)) -> list[str]:
        """The text's rows, with so many columns left free."""
        lines = text.expandtabs(8).split("\n")
        width = self.width()
        return [row for line in lines for row in (fold(line, width - less, words=True) if width else [line])]

    def _marked(self, line: Line, rows: list[str]) -> list[str]:
        tone = Tone.GOOD if line.mark == "›" else line.tone
        return [f"{self._paint.tone(tone, line.mark)} {rows[0]}", *(MARGIN + row for row in rows[1:])]
