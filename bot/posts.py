"""What a chat thread must show of a job: posts that follow from its events alone, whenever they are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from bot import breaks
from bot.model import Entry
from bot.rendering import completed, line
from bot.safetext import clean, one_line, reveal
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Completed,
    Event,
    Output,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
    Usage,
)

SHOWN_PARTS = 5
"""Posts of running text before the rest goes into a file, with its end shown."""
_TAIL = 800
"""Characters of the end that are shown beside a file."""
_FILE_CHARACTERS = 8_000_000
"""Characters of one file; the journal has the rest."""
_CLOSED = 300
"""Characters kept for what became of an ask."""


class PostKind(StrEnum):
    """What a post is for."""

    CARD = "card"
    TEXT = "text"
    ASK = "ask"
    END = "end"


@dataclass(frozen=True, slots=True)
class Post:
    """One message of ours, as it must stand now; texts are plain markdown."""

    key: str
    """`card`, `part-N`, `ask-ID` or `end`: unique in the job, and the same after any restart."""
    index: int
    """Its place among the job's posts, from 1."""
    kind: PostKind
    text: str
    seq: int
    """The last event that is in it."""
    final: bool = False
    """Whether it will stay as it is."""
    settled: bool = False
    """Whether its last paragraph is whole, so that people wait for nothing more of it."""
    ask: AskRaised | None = None
    """The open ask, while it is open."""
    file: str = ""
    """What goes along as a file, whole."""
    actor: str = ""
    """Who is to be notified of a loud post: who asked for the job."""

    @property
    def loud(self) -> bool:
        """Whether people are to be notified: when one is needed, and at the end."""
        return self.kind in (PostKind.ASK, PostKind.END)


class Fold:
    """Reads a job's events in order and knows what must be shown."""

    def __init__(self, limit: int, *, quiet: bool = False) -> None:
        self._limit = limit
        self._quiet = quiet
        self._parts = 1
        self._full = 0
        """Posts that were filled to the limit."""
        self._running = ""
        self._whole: list[str] = []
        self._size = 0
        self._tools: dict[str, ToolStarted] = {}
        self._posts: dict[str, Post] = {"card": Post("card", 1, PostKind.CARD, "", 0)}
        self._head = ""
        self._actor = ""
        self._state = "queued"
        self._seq = 0
        self._fenced = False
        self._settled = False

    def feed(self, entries: Iterable[Entry]) -> None:
        """Take in the next events."""
        for entry in entries:
            self._seq = entry.seq
            self._take(entry.event)
            self._flow_over()

    def posts(self) -> list[Post]:
        """Every post there must be, in order; all but the last few are final."""
        card = replace(self._posts["card"], text=self._card(), seq=self._seq, final=self._state == "ended")
        return [card, *sorted((p for key, p in self._posts.items() if key != "card"), key=lambda post: post.index)]

    def _take(self, event: Event) -> None:
        match event:
            case Accepted(actor=actor, kind=kind, text=text):
                self._actor = actor
                self._head = f"**{kind}** {one_line(text, 200)}"
            case Started(branch=branch):
                self._state = "running"
                self._head += f"\n`{one_line(branch)}`" if branch else ""
            case Text(text=text, end=end):
                self._settled = end
                self._write(clean(text) + ("\n\n" if end else ""), fenced=False)
            case Output(text=text):
                self._write(clean(text).replace("```", "`\u200b``"), fenced=True)
            case ToolStarted(id=tool):
                self._tools[tool] = event
            case ToolEnded(id=tool):
                self._tool(self._tools.pop(tool, None), event)
            case AskRaised(id=ask):
                self._ask(ask, event)
            case AskClosed(id=ask):
                self._close(ask, event)
            case Completed():
                self._end(event)
            case Usage():
                pass
            case _:
                self._line(_plain(event))

    def _tool(self, started: ToolStarted | None, ended: ToolEnded) -> None:
        if not self._quiet:
            name, title = (started.name, started.title) if started else ("tool", "")
            self._line(f"{'✓' if ended.ok else '✗'} {one_line(name)} {_code(title)}".rstrip())

    def _line(self, text: str) -> None:
        if text:
            gap = "" if not self._running or self._running.endswith("\n") else "\n"
            self._write(f"{gap}{clean(text)}\n", fenced=False)

    def _write(self, text: str, *, fenced: bool) -> None:
        if fenced and not self._fenced:
            text = "```\n" + text
        elif self._fenced and not fenced:
            text = ("" if self._running.endswith("\n") else "\n") + "```\n" + text
        self._fenced = fenced
        self._running += text
        if self._size < _FILE_CHARACTERS:
            self._whole.append(text)
            self._size += len(text)

    def _flow_over(self) -> None:
        """Cut what is too long for one post; then show the running part as it stands."""
        while self._full < SHOWN_PARTS and len(self._running) > self._limit:
            piece, self._running = breaks.cut(self._running, self._limit)
            self._part(piece, final=True)
            self._full += 1
        if self._full >= SHOWN_PARTS:
            self._running = self._running[-_TAIL:]
        text = self._running.rstrip()
        if text:
            self._part(self._shown(text), final=False)

    def _shown(self, text: str) -> str:
        if self._full >= SHOWN_PARTS:
            return f"… the whole text, {self._size:,} characters, comes as a file\n```\n{text.replace('```', '')}\n```"
        opened = breaks.open_fence(text)
        return f"{text}\n{opened[0]}" if opened else text

    def _part(self, text: str, *, final: bool) -> None:
        """The running part as it stands, or for good."""
        key = f"part-{self._parts}"
        known = self._posts.get(key)
        index = known.index if known else len(self._posts) + 1
        self._posts[key] = Post(key, index, PostKind.TEXT, text, self._seq, final, self._settled)
        self._parts += final

    def _seal(self) -> None:
        """End the running part, so that what comes later stands below what comes now."""
        if self._fenced:
            self._write("", fenced=False)
        self._flow_over()
        key = f"part-{self._parts}"
        if key in self._posts:
            self._posts[key] = replace(self._posts[key], final=True)
            self._parts += 1
        self._running = ""

    def _ask(self, ask: str, event: AskRaised) -> None:
        self._seal()
        text, file = _asked(event, self._limit - _CLOSED)
        index = len(self._posts) + 1
        post = Post(f"ask-{ask}", index, PostKind.ASK, text, self._seq, ask=event, file=file, actor=self._actor)
        self._posts[post.key] = post

    def _close(self, ask: str, event: AskClosed) -> None:
        post = self._posts.get(f"ask-{ask}")
        if post is not None:
            said = _plain(event)
            text = f"{post.text}\n{said[: _CLOSED - 1]}"
            self._posts[post.key] = replace(post, text=text, seq=self._seq, final=True, ask=None)

    def _end(self, event: Completed) -> None:
        self._state = "ended"
        self._seal()
        file = "".join(self._whole) if self._full >= SHOWN_PARTS else ""
        text = completed(event).plain
        index = len(self._posts) + 1
        self._posts["end"] = Post("end", index, PostKind.END, text, self._seq, True, file=file, actor=self._actor)

    def _card(self) -> str:
        working = next(reversed(self._tools.values()), None)
        now = f"\n● {one_line(working.name)} {_code(working.title)}" if working and self._state == "running" else ""
        return f"{self._head}\n{self._state}{now}"


def _plain(event: Event) -> str:
    shown = line(event)
    return shown.plain if shown else ""


def _asked(ask: AskRaised, limit: int) -> tuple[str, str]:
    """What is asked, and the whole of it where that is too long: a command so that none of it is read as markdown."""
    title = f"**{one_line(ask.title)}**\n"
    words = ask.kind in ("question", "plan")
    body = clean(ask.body) if words else "```\n" + reveal(ask.body).replace("```", "`\u200b``") + "\n```"
    if len(title) + len(body) <= limit:
        return title + body, ""
    cut = body[: limit - len(title) - 60]
    opened = breaks.open_fence(cut)
    return f"{title}{cut}\n{opened[0] if opened else ''}\n… the whole of it is in the file", ask.body


def _code(text: str) -> str:
    """A command or path as inline code."""
    short = one_line(text, 120).replace("`", "ˋ")
    return f"`{short}`" if short else ""
