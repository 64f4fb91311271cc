"""The one table of commands, which serves every surface, completion and help; and how a line is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rapidfuzz import process

from bot.errors import UserError


class Takes(StrEnum):
    """What a command expects after its name."""

    NOTHING = ""
    PROMPT = "<project> <text>"
    PROJECT = "<project>"
    SCOPE = "[project]"
    SESSION = "[session]"
    JOB = "[job]"
    TARGET = "[project|session|job]"
    CHECKPOINT = "<checkpoint> [session]"
    GRANT = "<domain> [session|project]"
    COMMAND = "[command]"


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    name: str
    takes: Takes
    summary: str
    flags: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """How the command is written."""
        parts = ["/" + self.name, self.takes.value, *(f"[{flag}]" for flag in self.flags)]
        return " ".join(part for part in parts if part)


_TURN_FLAGS = ("--model NAME", "--effort LEVEL", "--plan")

COMMANDS = (
    Command("claude", Takes.PROMPT, "Give Claude work in a project, in a thread of its own", _TURN_FLAGS),
    Command("shell", Takes.PROMPT, "Run a command line in the project's box"),
    Command("git", Takes.PROMPT, "Run git in the session's worktree; push and fetch go through the guarded repository"),
    Command("rdev projects", Takes.NOTHING, "The projects you may see, and their boxes"),
    Command("rdev start", Takes.PROJECT, "Bring a project's box up now, so that the next command does not wait"),
    Command("rdev status", Takes.SCOPE, "What runs, what waits, and who is asked"),
    Command("rdev sessions", Takes.SCOPE, "The conversations of a project"),
    Command("rdev jobs", Takes.SCOPE, "The latest jobs"),
    Command("rdev logs", Takes.JOB, "The end of a job's output"),
    Command("rdev stop", Takes.TARGET, "Stop this thread's work; with a project, all of it and its box", ("--purge",)),
    Command("rdev resume", Takes.SESSION, "Let Claude go on where it was stopped"),
    Command("rdev delete", Takes.SESSION, "Remove a session's worktree and checkpoints; the branch stays where pushed"),
    Command("rdev diff", Takes.SESSION, "What the session changed against its base"),
    Command("rdev push", Takes.SESSION, "Push the session's branch"),
    Command("rdev checkpoints", Takes.SESSION, "The snapshots taken before each turn"),
    Command("rdev rewind", Takes.CHECKPOINT, "Put the files back as they were at a checkpoint"),
    Command("rdev allow", Takes.GRANT, "Let a session, or with a project's name the project, reach a domain"),
    Command("rdev asks", Takes.SCOPE, "What waits for a person"),
    Command("rdev answer", Takes.COMMAND, "Answer an ask: /rdev answer <ask> <answer>"),
    Command("rdev cost", Takes.SCOPE, "What the work has cost"),
    Command("rdev audit", Takes.SCOPE, "The latest acts"),
    Command("rdev help", Takes.COMMAND, "This table, or one command"),
)
_BY_NAME = {command.name: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command as written: its name, the words after it, and the text that may follow the first word."""

    name: str
    words: tuple[str, ...] = ()
    rest: str = ""
    """Everything after the first word, as written."""
    flags: tuple[tuple[str, str], ...] = ()

    def flag(self, name: str) -> str | None:
        """The value of a flag, empty for one without a value, None when it is not there."""
        return dict(self.flags).get(name)


def parse(line: str) -> Invocation:
    """Read a line that begins with a slash.

    Raises UserError with the nearest command for an unknown one, and with the usage for missing words.
    """
    name, text = _split_name(line.strip())
    command = _BY_NAME[name]
    words = text.split()
    if command.takes is Takes.PROMPT:
        return _prompt(command, text)
    known = {flag.split()[0] for flag in command.flags}
    flags = [word for word in words if word.startswith("--")]
    for flag in flags:
        if flag not in known:
            raise UserError(f"/{name} does not know {flag}. It is written: {command.usage}")
    words = [word for word in words if word not in known]
    if command.takes.value.startswith("<") and not words:
        raise UserError(f"Something is missing. It is written: {command.usage}")
    rest = text.partition(" ")[2].strip()
    return Invocation(name, tuple(words), rest, tuple((flag, "") for flag in flags))


def nearest(word: str, known: Sequence[str], *, cutoff: float = 60) -> str | None:
    """The known name most like the word, or None when nothing is."""
    found = process.extractOne(word, known, score_cutoff=cutoff)
    return str(found[0]) if found else None


def unknown(what: str, word: str, known: Sequence[str]) -> UserError:
    """The error for a name that does not exist: what it may have meant, or what there is."""
    if (like := nearest(word, known)) is not None:
        return UserError(f"There is no {what} “{word}”. Did you mean “{like}”?")
    listed = ", ".join(sorted(known)[:20]) or "none that you may use"
    return UserError(f"There is no {what} “{word}”. There is: {listed}")


def help_text(words: Sequence[str] = ()) -> str:
    """The table, or one command's row."""
    if words:
        name = " ".join(words).lstrip("/")
        command = _BY_NAME.get(name) or _BY_NAME.get("rdev " + name)
        if command is None:
            raise unknown("command", name, list(_BY_NAME))
        return f"{command.usage}\n{command.summary}."
    width = max(len(_short(command)) for command in COMMANDS)
    rows = [f"{_short(command):<{width}}  {command.summary}" for command in COMMANDS]
    return "\n".join([*rows, "", "In a thread, write without a slash: it goes on with that thread's session."])


def complete(text: str, projects: Sequence[str], sessions: Sequence[str] = ()) -> list[str]:
    """What the last word of a line may become."""
    if not text.startswith("/"):
        return []
    *before, last = text[1:].split(" ")
    names = sorted(
        {
            name.split()[len(before)]
            for name in _BY_NAME
            if name.split()[: len(before)] == before and len(name.split()) > len(before)
        }
    )
    if names:
        return [("/" if not before else "") + name for name in names if name.startswith(last)]
    command = _BY_NAME.get(" ".join(before[:2])) or _BY_NAME.get(before[0])
    if command is None:
        return []
    depth = len(before) - len(command.name.split())
    if last.startswith("--"):
        return [flag.split()[0] for flag in command.flags if flag.startswith(last)]
    if depth:
        return []
    takes = command.takes.value
    known = (list(projects) if "project" in takes else []) + (list(sessions) if "session" in takes else [])
    if command.takes is Takes.COMMAND and command.name == "rdev help":
        known = [name.removeprefix("rdev ") for name in _BY_NAME]
    return sorted(word for word in known if word.startswith(last))


def _short(command: Command) -> str:
    return " ".join(part for part in ("/" + command.name, command.takes.value) if part)


def _split_name(line: str) -> tuple[str, str]:
    first, _, rest = line[1:].partition(" ")
    if first != "rdev":
        if first in _BY_NAME:
            return first, rest.strip()
        guess = nearest(first, [name.removeprefix("rdev ") for name in _BY_NAME])
        full = next((name for name in _BY_NAME if name.removeprefix("rdev ") == guess), None)
        hint = f"Did you mean /{full}?" if full else "/rdev help lists the commands."
        raise UserError(f"There is no command /{first}. {hint}")
    sub, _, rest = rest.strip().partition(" ")
    if not sub:
        return "rdev help", ""
    if f"rdev {sub}" not in _BY_NAME:
        subs = [name.removeprefix("rdev ") for name in _BY_NAME if name.startswith("rdev ")]
        like = nearest(sub, subs)
        hint = f"Did you mean /rdev {like}?" if like else "/rdev help lists the commands."
        raise UserError(f"There is no command /rdev {sub}. {hint}")
    return f"rdev {sub}", rest.strip()


_FLAG = re.compile(r"--(model|effort)(?:=|\s+)(\S+)\s*|--(plan)(?:\s+|$)")


def _prompt(command: Command, text: str) -> Invocation:
    project, _, rest = text.partition(" ")
    if not project:
        raise UserError(f"Which project, and what? It is written: {command.usage}")
    rest, flags = rest.strip(), []
    # Flags are read only before the prompt begins: a prompt may speak of --model itself.
    while command.flags and (found := _FLAG.match(rest)):
        flags.append((f"--{found[1] or found[3]}", found[2] or ""))
        rest = rest[found.end() :]
    if not rest:
        raise UserError(f"What should be done in “{project}”? It is written: {command.usage}")
    return Invocation(command.name, (project,), rest, tuple(flags))
