"""Few colours, taken from the terminal's own sixteen, or none."""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len, chop_cells

from bot.rendering import Tone

_BOLD, _DIM = "1", "2"
_CODES = {
    Tone.PLAIN: "",
    Tone.QUIET: _DIM,
    Tone.GOOD: "32",
    Tone.WARNING: "33",
    Tone.BAD: "31",
    Tone.ASK: "1;33",
}
_CODE = "36"


class Paint:
    """Colours text that is safe already; without colour it gives the text back."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def bold(self, text: str) -> str:
        """Text that matters."""
        return self._in(_BOLD, text)

    def dim(self, text: str) -> str:
        """Text that may be passed over."""
        return self._in(_DIM, text)

    def code(self, text: str) -> str:
        """Text of a program."""
        return self._in(_CODE, text)

    def tone(self, tone: Tone, text: str) -> str:
        """Text in a tone."""
        return self._in(_CODES[tone], text)

    def _in(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text


def wants_colour(tty: bool, environ: Mapping[str, str]) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR says no."""
    return tty and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def fold(text: str, width: int, *, words: bool, hang: int = 0) -> list[str]:
    """The text in rows of at most so many cells, broken at spaces if `words`; later rows begin with `hang` spaces.

    More text at the end changes the last row only.
    """
    width = max(width, 4)
    hang = min(hang, width - 4)
    rows = []
    while _is_wider(text.rstrip(" ") if words else text, width):
        head = text[:width] if text.isascii() else chop_cells(text[:width], width)[0]
        cut = len(head)
        if words and text[cut] != " ":
            space = head.rfind(" ")
            cut = space if space > 0 and head[:space].strip() else cut
        rows.append(text[:cut].rstrip() if words else text[:cut])
        text = " " * hang + (text[cut:].lstrip(" ") if words else text[cut:])
    return [*rows, text]


def _is_wider(text: str, width: int) -> bool:
    # A row holds at most as many characters as cells: a text of zero-width ones is broken early, which hurts nobody.
    return len(text) > width or (not text.isascii() and cell_len(text) > width)


def fit(text: str, width: int) -> str:
    """The text cut to so many cells, with an ellipsis where something is missing."""
    if not _is_wider(text, width):
        return text
    return chop_cells(text[:width], width - 1)[0].rstrip() + "…" if width > 1 else ""
