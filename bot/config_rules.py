"""What single values allow but their combination does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bot.config_errors import Mistake
from bot.config_values import is_ssh

_SESSION_BRANCHES = ("rdev/a", "rdev/some-session-42")
"""Two names with nothing in common but the prefix: a pattern that matches both matches every session's branch."""


def unpushable(push: str, protected: Iterable[str]) -> list[Mistake]:
    """A policy that pushes, and a protected pattern that covers every branch there could be to push."""
    if push == "never":
        return []
    allowed = 'patterns that leave rdev/* free, or push = "never"'
    return [
        Mistake(f"[{at}]", f'"{glob}", which protects every session\'s branch while push = "{push}"', allowed)
        for at, glob in enumerate(protected)
        if all(fnmatchcase(branch, glob) for branch in _SESSION_BRANCHES)
    ]


def key_without_ssh(url: str, deploy_key: Path | None) -> list[Mistake]:
    """A deploy key where no ssh is spoken, or ssh without one."""
    if deploy_key is not None and not is_ssh(url):
        kind = "an https url" if url.startswith("https://") else "a path of this machine"
        return [Mistake("", f"a deploy_key for {kind}", "a deploy_key with an ssh url: git@host:path or ssh://…")]
    if deploy_key is None and is_ssh(url):
        return [Mistake("", "nothing", "the private key file for this ssh url, which nobody else can read")]
    return []


def unanswerable(asking: Sequence[str], approvers: Sequence[str]) -> list[Mistake]:
    """Asks that no one may answer; `asking` are the settings that ask."""
    if not asking or approvers:
        return []
    allowed = f"at least one actor in approve or admin while {' and '.join(asking)}: nobody else could ever answer"
    return [Mistake("approve", "an empty list", allowed)]


def exposed(shown: Iterable[Path], secret: Iterable[tuple[str, Path]]) -> list[Mistake]:
    """Paths shown to the sandbox that hold what it must never see; `secret` names each with its key path."""
    mistakes = []
    kept = [(name, path.resolve()) for name, path in secret]
    for at, path in enumerate(shown):
        real = path.resolve()
        key = f"backend.readonly_paths[{at}]"
        for name, hidden in kept:
            if real == hidden or real in hidden.parents or (name == "state_dir" and hidden in real.parents):
                mistakes.append(Mistake(key, f'"{path}", which shows the sandbox {name}', "paths without secrets"))
    return mistakes
