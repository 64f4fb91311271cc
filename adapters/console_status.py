"""The rows around the prompt, and the list of threads: values in, text out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len

from adapters.console_asks import Question
from adapters.console_board import Board
from adapters.console_lines import Lines
from adapters.paint import Paint, fit
from adapters.transcript import ThreadFile
from bot.model import Entry
from bot.rendering import Tone, duration, line, money
from bot.safetext import one_line
from executor.events import AskRaised, Completed


def place(thread: str, paint: Paint, width: int) -> str:
    """Where we are, and where one types."""
    return f"{paint.bold(fit(one_line(thread) or 'rdev', max(width // 2, 8)))} {paint.tone(Tone.GOOD, '›')} "


def echo(thread: str, text: str, paint: Paint, width: int) -> str:
    """A command that was entered, in one row."""
    before = cell_len(fit(one_line(thread) or "rdev", max(width // 2, 8))) + 3
    return place(thread, paint, width) + fit(one_line(text, 500), max(width - before, 10))


def toolbar(board: Board, thread: str, paint: Paint, width: int) -> str:
    """What runs, what waits elsewhere, what it has cost, and how to stop and leave."""
    facts = []
    if board.running:
        facts.append(f"{len(board.running)} running")
    if waiting := [asking for asking in board.asking() if asking != thread]:
        facts.append(f"{len(waiting)} waiting for an answer")
    if board.costs:
        facts.append(money(sum(board.costs.values())))
    if board.busy(thread):
        facts.append("Ctrl-C stops")
    return paint.dim(fit(" · ".join([*facts, "Ctrl-D leaves"]), width - 1))


def keys(questions: Sequence[Question], picked: Sequence[str], paint: Paint, width: int) -> str:
    """How to answer the oldest of the questions."""
    question = questions[0]
    which = f"1 of {len(questions)}: {question.title}  " if len(questions) > 1 else ""
    chosen = f"  ✓ {', '.join(map(one_line, picked))}" if picked else ""
    return f"{paint.tone(Tone.ASK, '?')} {fit(which + question.hint + chosen, width - 3)}"


def announced(thread: str, entry: Entry, lines: Lines, paint: Paint) -> list[str]:
    """The one line that another thread gets: that it ended, or that it asks."""
    match entry.event:
        case AskRaised() | Completed():
            said = line(entry.event)
            assert said is not None
            text = "  ".join(part for part in (said.head, said.text, said.note) if part)
            mark = paint.tone(said.tone, said.mark)
            return [f"{mark} {paint.bold(one_line(thread))}  {fit(text, max(lines.width() - len(thread) - 5, 20))}"]
        case _:
            return []


def listed(threads: Sequence[ThreadFile], board: Board, paint: Paint, width: int) -> list[str]:
    """The threads, with what they do and when they last did something."""
    if not threads:
        return [paint.dim("  No threads yet.")]
    room = min(max(len(thread.name) for thread in threads), max(width - 30, 20))
    rows = []
    for thread in threads:
        state = (Tone.ASK, "?", "asks") if thread.name in board.asking() else (Tone.QUIET, " ", "")
        if state[2] == "" and board.busy(thread.name):
            state = (Tone.GOOD, "●", "runs")
        ago = duration(max(time.time() - thread.changed, 0)).partition(".")[0]
        ago = f"{ago}{'' if ago[-1] in 'sm' else 's'} ago"
        name = fit(one_line(thread.name), room).ljust(room)
        rows.append(f"{paint.tone(state[0], state[1])} {name}  {state[2]:4}  {paint.dim(ago)}".rstrip())
    return rows


def matching(text: str, threads: Sequence[ThreadFile]) -> list[ThreadFile]:
    """The threads that a person may mean: the one of that name, else those that begin with it or hold it."""
    exact = [thread for thread in threads if thread.name == text]
    starting = [thread for thread in threads if thread.name.startswith(text)]
    return exact or starting or [thread for thread in threads if text in thread.name]
