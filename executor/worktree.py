"""What a session's worktree is and holds, as values, and how they are read from what the sandbox's scripts say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executor import git
from executor.errors import RepositoryError
from executor.worktree_shell import WORKTREES


@dataclass(frozen=True, slots=True)
class Worktree:
    """Where a session works."""

    path: str
    branch: str
    """What is checked out: the session's branch, unless the agent changed it; empty for a detached HEAD."""
    base: str
    """The commit it is compared with; the empty tree in a repository without commits."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A snapshot of a session's worktree."""

    number: int
    commit: str
    label: str = ""
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a turn's changes."""

    commit: str
    branch: str
    stat: str
    """git's own short diff stat."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How a session's files differ, as git's short diff stats; empty for no difference."""

    head: str
    branch: str
    since_base: str
    since: str


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of a push."""

    commit: str
    branch: str
    url: str = ""
    """A page to open a pull request on, where the host is known."""
    nothing_new: bool = False


def _fields(lines: Sequence[str], word: str, count: int) -> list[str]:
    """The fields after the first line that starts with a word."""
    for line in lines:
        first, *fields = line.split(" ")
        if first == word and len(fields) == count:
            return fields
    raise RepositoryError("read the sandbox's answer", 1, f"it does not say {word!r}")


def read_worktree(session: str, lines: Sequence[str]) -> Worktree:
    """Read `open <base> <branch>`."""
    base, branch = _fields(lines, "open", 2)
    return Worktree(f"{WORKTREES}/{session}", git.printable(branch), base if git.is_commit(base) else "")


def read_checkpoint(lines: Sequence[str]) -> Checkpoint:
    """Read `checkpoint <number> <commit>`."""
    number, commit = _fields(lines, "checkpoint", 2)
    if not _is_number(number) or not git.is_commit(commit):
        raise RepositoryError("read the sandbox's answer", 1, "it names no checkpoint")
    return Checkpoint(int(number), commit)


def read_checkpoints(lines: Sequence[str]) -> list[Checkpoint]:
    """Read lines of `<number> <commit> <seconds since the epoch> <label>`; others are passed over."""
    found = []
    for line in lines:
        number, commit, time, label = (*line.split(" ", 3), "", "", "", "")[:4]
        if _is_number(number) and git.is_commit(commit) and _is_number(time):
            found.append(Checkpoint(int(number), commit, git.one_line(label), float(time)))
    return found


def read_commit(lines: Sequence[str]) -> Commit | None:
    """Read `commit <name> <branch>` and a stat; None where the script says that there is none."""
    first, stat = (*lines, "", "")[:2]
    match first.split(" "):
        case ["commit", name, branch] if git.is_commit(name):
            return Commit(name, git.printable(branch), git.parse_stat(stat))
        case ["clean"] | ["unfinished", _]:
            return None
        case _:
            raise RepositoryError("read the sandbox's answer", 1, "it names no commit")


def read_changes(lines: Sequence[str]) -> Changes:
    """Read `head <name> <branch>` and two lines of `stat…`."""
    head, branch = _fields(lines, "head", 2)
    stats = [git.parse_stat(line.removeprefix("stat")) for line in lines if line.startswith("stat")]
    base, since = (*stats, "", "")[:2]
    return Changes(head if git.is_commit(head) else "", git.printable(branch), base, since)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12
