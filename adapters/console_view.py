"""A thread drawn as rows: finished ones that never change again, and the few at the end that still do."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from adapters.console_lines import Lines
from adapters.flow import Flow
from adapters.paint import Paint
from bot.model import Entry
from bot.rendering import Line, duration, line, tool_ended, tool_started
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    FollowUp,
    Output,
    Pushed,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
    Usage,
)

_LIVE = 4
"""Tools at work that are drawn one by one."""
_TOOLS = 200
"""Tools at work that are remembered."""


_BLANKS = 100
"""Blank rows of output that are kept in a row."""


class _Block(StrEnum):
    """What stands together; a blank row parts some of them."""

    SAID = "said"
    TEXT = "text"
    OUTPUT = "output"
    TOOL = "tool"
    ASK = "ask"
    END = "end"


class View:
    """Draws the entries of one thread in order, for one viewer."""

    def __init__(self, paint: Paint, width: Callable[[], int], viewer: str = "") -> None:
        self._paint = paint
        self._lines = Lines(paint, width)
        self._viewer = viewer
        self._block: _Block | None = None
        self._flow: Flow | None = None
        self._source: tuple[str, str] | None = None
        self._tools: dict[tuple[str, str], tuple[ToolStarted, float]] = {}
        self._rows: list[str] = []
        self._branch = ""
        self._blanks = 0
        """Blank rows that wait for something to stand before."""
        self._fresh = True
        """Whether nothing of the block has been drawn."""

    def feed(self, entry: Entry) -> None:
        """Draw one more entry."""
        match entry.event:
            case Text(parent=""):
                self._words(_Block.TEXT, entry.job, entry.event.text, ended=entry.event.end)
            case Output(text=text):
                self._words(_Block.OUTPUT, entry.job, text, ended=False)
            case Text() | Usage():
                pass  # a subagent's words go to Claude, whose own words follow; amounts come with the end
            case ToolStarted() as tool:
                if len(self._tools) < _TOOLS:
                    self._tools[(entry.job, tool.id)] = (tool, entry.time)
            case ToolEnded() as ended:
                self._tool(entry, ended)
            case AskRaised() as ask:
                self._say(_Block.ASK, line(ask), self._lines.ask(ask))
            case Completed():
                self._unfinished(entry.job)
                self._say(_Block.END, line(entry.event, self._viewer))
            case Started(branch=branch) if branch == self._branch:
                pass
            case event:
                self._branch = event.branch if isinstance(event, Started) else self._branch
                block = _BLOCKS.get(type(event)) or (_Block.END if self._block is None else self._block)
                self._say(_Block.END if block is _Block.TEXT else block, line(event, self._viewer))

    def note(self, text: str) -> None:
        """Draw a sentence of the console's own, safe already."""
        self._begin(_Block.END)
        self._put([self._paint.dim(row) for row in self._lines.folded(text, 0)])

    def take(self) -> list[str]:
        """The rows finished since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def live(self, now: float) -> list[str]:
        """The rows that still change: the one being written, and the tools at work."""
        partial = self._flow.partial() if self._flow else ""
        rows = [*[""] * self._blanks, partial] if partial else []
        tools = list(self._tools.values())
        if tools and self._parted(_Block.TOOL):
            rows.append("")
        for tool, begun in tools[:_LIVE]:
            drawn = tool_started(tool)
            took = duration(max(round(now - begun), 10)) if now - begun >= 10 else f"{now - begun:.0f}s"
            note = took if now - begun >= 1 else ""
            rows.append(self._lines.tool(Line(drawn.mark, drawn.head, drawn.text, note), inner=bool(tool.parent)))
        if len(tools) > _LIVE:
            rows.append(self._paint.dim(f"  and {len(tools) - _LIVE} more"))
        return rows

    def close(self) -> None:
        """Finish the row being written: something else comes, or nothing more."""
        if self._flow is not None:
            self._put(self._flow.close(self._lines.width()))
            self._flow, self._source = None, None

    def _words(self, block: _Block, job: str, text: str, *, ended: bool) -> None:
        if self._source != (job, block):
            self._begin(block)
            self._flow, self._source = Flow(self._paint, prose=block is _Block.TEXT), (job, block)
        assert self._flow is not None
        self._put(self._flow.feed(text, self._lines.width()))
        if ended:
            self.close()
            self._blanks = 1

    def _tool(self, entry: Entry, ended: ToolEnded) -> None:
        tool, begun = self._tools.pop((entry.job, ended.id), (None, entry.time))
        self._begin(_Block.TOOL)
        drawn = tool_ended(tool, ended, max(entry.time - begun, 0) if tool else None)
        self._put([self._lines.tool(drawn, inner=bool(tool and tool.parent))])
        if not ended.ok:
            self._put(self._lines.failure(ended.output))

    def _unfinished(self, job: str) -> None:
        for key in [key for key in self._tools if key[0] == job]:
            tool, _ = self._tools.pop(key)
            self._begin(_Block.TOOL)
            self._put([self._lines.tool(tool_started(tool), inner=bool(tool.parent))])

    def _say(self, block: _Block, said: Line | None, more: list[str] | None = None) -> None:
        if said is not None:
            self._begin(block, alone=said.mark in ("›", "?"))
            self._put(self._lines.said(said) if said.mark == "›" else self._lines.whole(said))
            self._put(more or [])

    def _begin(self, block: _Block, *, alone: bool = False) -> None:
        self.close()
        self._blanks = int(self._block is not None and (alone or self._parted(block)))
        self._block, self._fresh = block, True

    def _parted(self, block: _Block) -> bool:
        if self._block in (None, block):
            return self._blanks > 0
        return _Block.TEXT in (block, self._block) or (self._block, block) in _PARTED

    def _put(self, rows: list[str]) -> None:
        # Blank rows are held back until something follows: text may begin and end with many.
        most = _BLANKS if self._block is _Block.OUTPUT else 2
        for row in rows:
            if not row and self._fresh and self._block is _Block.TEXT:
                continue
            if not row:
                self._blanks = min(self._blanks + 1, most)
                continue
            self._rows += [""] * self._blanks
            self._rows.append(row)
            self._blanks, self._fresh = 0, False


_BLOCKS = {
    Accepted: _Block.SAID,
    FollowUp: _Block.SAID,
    AskClosed: _Block.ASK,
    Committed: _Block.END,
    Pushed: _Block.END,
}
_PARTED = {(_Block.SAID, _Block.TOOL), (_Block.TOOL, _Block.END), (_Block.ASK, _Block.END)}
