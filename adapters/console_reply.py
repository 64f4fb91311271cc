"""The service's replies, drawn."""

from __future__ import annotations

from adapters.console_lines import Lines
from adapters.flow import MARGIN
from adapters.paint import Paint
from bot.rendering import Line, Tone
from bot.reply import Reply
from bot.safetext import clean

_DIFF = {"+": Tone.GOOD, "-": Tone.BAD, "@": Tone.QUIET}


def drawn(reply: Reply, lines: Lines, paint: Paint) -> list[str]:
    """A reply's rows: a mistake marked, a sentence quietly, a table or a diff as it is."""
    text = clean(reply.text).strip("\n")
    if not text:
        return []
    if reply.error:
        return lines.whole(Line("✗", text, tone=Tone.BAD))
    if reply.asks:
        return lines.whole(Line("?", text, tone=Tone.ASK))
    if "\n" not in text:
        return lines.whole(Line("·", text, tone=Tone.QUIET))
    if "\n@@ " in text:
        return [MARGIN + paint.tone(_DIFF.get(row[:1], Tone.PLAIN), row) for row in lines.folded(text)]
    return [MARGIN + row for row in lines.folded(text)]
