"""Text of strangers made safe to show: nothing in it may drive a terminal or change what a reader sees."""

from __future__ import annotations

import re

# Terminal sequences, whole: CSI … final byte; OSC, DCS, SOS, PM and APC up to BEL or ST; ESC with its final byte.
# The length of a string sequence is bounded, so that one that never ends hides no more than that.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9b-\x9f\n]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# C0 but newline and tab, DEL, C1, line separators, bidi embeddings, overrides and isolates, byte order mark,
# annotations, tag characters (invisible ASCII) and half surrogates (which no UTF-8 output takes).
_UNSAFE_CLASS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff"
)
_UNSAFE = re.compile(f"[{_UNSAFE_CLASS}]")
# What a reader of a command must not miss, besides: soft hyphens, zero-width characters and directional marks.
_HIDDEN = re.compile(f"[{_UNSAFE_CLASS}\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f]")
_BREAKS = {"\u2028": "\n", "\u2029": "\n"}


def clean(text: str) -> str:
    """The text without anything that acts on a terminal; newlines and tabs stay."""
    if _UNSAFE.search(text) is None:
        return text
    text = _SEQUENCE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSAFE.sub(lambda found: _BREAKS.get(found[0], "\ufffd" if "\ud800" <= found[0] <= "\udfff" else ""), text)


def reveal(text: str) -> str:
    """The text with everything hidden in it made visible, for what a person is to judge; newlines and tabs stay."""
    return _HIDDEN.sub(_visible, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most so many characters, hidden characters made visible."""
    line = re.sub(r"\s*\n\s*", " ⏎ ", reveal(text[: limit * 4].strip())).replace("\t", " ")
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
