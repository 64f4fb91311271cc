"""What happened, as short lines that people like to read; the same words on every surface."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import override

from bot.safetext import clean, one_line, reveal
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    Event,
    FollowUp,
    Notice,
    Output,
    Pushed,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
    Usage,
)


class Tone(StrEnum):
    """How much a line wants to be seen."""

    PLAIN = "plain"
    QUIET = "quiet"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of ours: a mark, what it is about, the matter itself, and a quiet note behind it."""

    mark: str
    head: str
    text: str = ""
    note: str = ""
    tone: Tone = Tone.PLAIN

    @property
    def plain(self) -> str:
        """The line as text without colours."""
        return f"{self.mark} " + "  ".join(part for part in (self.head, self.text, self.note) if part)

    @override
    def __str__(self) -> str:
        return self.plain


_STATES = {
    "succeeded": ("✓", "done", Tone.GOOD),
    "failed": ("✗", "failed", Tone.BAD),
    "cancelled": ("■", "stopped", Tone.WARNING),
}
_LEVELS = {"info": ("·", Tone.QUIET), "warning": ("!", Tone.WARNING), "error": ("✗", Tone.BAD)}
_OUTCOMES = {
    "answered": ("✓", "answered", Tone.GOOD),
    "withdrawn": ("·", "no longer asked", Tone.QUIET),
    "expired": ("!", "not answered in time", Tone.WARNING),
}


def line(event: Event, viewer: str = "") -> Line | None:
    """The event's own line, or None for words, output and amounts; other actors than the viewer are named."""
    match event:
        case Accepted(actor=actor, text=text) | FollowUp(actor=actor, text=text):
            return Line("›", reveal(text.strip()), note="" if actor == viewer else one_line(actor))
        case Started(branch=branch):
            return Line("·", f"on {one_line(branch)}", tone=Tone.QUIET) if branch else None
        case ToolStarted():
            return tool_started(event)
        case ToolEnded():
            return tool_ended(None, event)
        case AskRaised(title=title):
            return Line("?", one_line(title), tone=Tone.ASK)
        case AskClosed(outcome=outcome, answer=answer, actor=actor):
            mark, word, tone = _OUTCOMES.get(outcome, ("·", one_line(outcome), Tone.QUIET))
            return Line(mark, word, one_line(answer), "" if actor in ("", viewer) else one_line(actor), tone)
        case Notice(level=level, text=text):
            mark, tone = _LEVELS.get(level, _LEVELS["info"])
            return Line(mark, reveal(text.strip()), tone=tone)
        case Committed(commit=commit, stat=stat):
            return Line("◆", "commit", one_line(commit)[:10], diffstat(stat))
        case Pushed(branch=branch, commit=commit, url=url):
            return Line("▲", "pushed", f"{one_line(branch)} {one_line(commit)[:10]}".strip(), one_line(url))
        case Completed():
            return completed(event)
        case Text() | Output() | Usage():
            return None


def tool_started(event: ToolStarted) -> Line:
    """A tool at work."""
    return Line("●", _tool_name(event.name), one_line(event.title))


def tool_ended(started: ToolStarted | None, ended: ToolEnded, seconds: float | None = None) -> Line:
    """A tool call that came back, with how long it took and what it changed where that is known."""
    mark, tone = ("✓", Tone.GOOD) if ended.ok else ("✗", Tone.BAD)
    took = duration(seconds) if seconds is not None and seconds >= 0.1 else ""
    if started is None:
        return Line(mark, "tool", note=took, tone=tone)
    note = " · ".join(part for part in (edited(started) if ended.ok else "", took) if part)
    return Line(mark, _tool_name(started.name), one_line(started.title), note, tone)


def completed(event: Completed) -> Line:
    """The last line: state, exit code, reason, duration, cost and tokens."""
    mark, word, tone = _STATES.get(event.state, ("■", one_line(event.state), Tone.WARNING))
    facts = [duration(event.duration_ms / 1000)]
    if event.cost_usd:
        facts.append(money(event.cost_usd))
    if event.tokens:
        facts.append(f"{count(event.tokens)} tokens")
    if event.exit_code and event.state != "cancelled":
        word += f" with exit code {event.exit_code}"
    return Line(mark, word, reveal(event.reason.strip()), " · ".join(facts), tone)


def excerpt(output: str, lines: int = 6) -> str:
    """The last lines of what a tool printed, safe to show."""
    kept = [row.rstrip() for row in clean(output[-lines * 1000 :]).rstrip().split("\n") if row.strip()]
    return "\n".join(kept[-lines:])


def duration(seconds: float) -> str:
    """A length of time as people say it: 0.4s, 41s, 3m 05s, 2h 04m."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def money(usd: float) -> str:
    """An amount in dollars with as many digits as matter."""
    if usd <= 0:
        return "$0"
    if usd < 0.001:
        return "<$0.001"
    return f"${usd:.3f}" if usd < 0.095 else f"${usd:,.2f}"


def count(number: int) -> str:
    """A number of things in few digits: 999, 12.3k, 4.5M."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 999_950 else f"{number / 1_000_000:.1f}M"


def size(number: float) -> str:
    """A number of bytes in few digits: 512 B, 3.4 kB, 41 MB."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def diffstat(stat: str) -> str:
    """git's short diff stat in fewer words: 2 files +10 −3."""
    files = re.search(r"(\d+) files? changed", stat)
    if files is None:
        return one_line(stat)
    parts = [f"{files[1]} file" + ("" if files[1] == "1" else "s")]
    for sign, word in (("+", "insertion"), ("−", "deletion")):
        found = re.search(rf"(\d+) {word}", stat)
        if found:
            parts.append(sign + found[1])
    return " ".join(parts)


def edited(started: ToolStarted) -> str:
    """How many lines an edit adds and removes, where the call says it whole."""
    try:
        fields = json.loads(started.detail)
    except ValueError:  # empty, or cut at its limit
        return ""
    match fields:
        case {"old_string": str(old), "new_string": str(new)}:
            added, removed = _changed(old.splitlines(), new.splitlines())
        case {"content": str(new), "file_path": str()}:
            added, removed = len(new.splitlines()), 0
        case _:
            return ""
    return " ".join(part for part in (f"+{added}" * bool(added), f"−{removed}" * bool(removed)) if part)


def _changed(old: list[str], new: list[str]) -> tuple[int, int]:
    # Common lines at both ends are cut off; a real diff would cost quadratic time on hostile input for two numbers.
    shorter = min(len(old), len(new))
    head = next((n for n in range(shorter) if old[n] != new[n]), shorter)
    tail = next((n for n in range(shorter - head) if old[-1 - n] != new[-1 - n]), shorter - head)
    return len(new) - head - tail, len(old) - head - tail


def _tool_name(name: str) -> str:
    server, _, tool = name.removeprefix("mcp__").partition("__")
    return one_line(f"{server} {tool}" if name.startswith("mcp__") and tool else name, 60)
