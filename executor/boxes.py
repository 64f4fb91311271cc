"""The boxes' directories and numbers: which project has which address, user and place on disk."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from executor import processes, sandbox, seccomp, squid
from executor.backend import Box, Limits
from executor.errors import BoxFailed
from executor.runtime import write_whole

log = logging.getLogger(__name__)

FIRST_UID, LAST_UID = 1_900_000_000, 2_147_000_000
"""Where we are root, every box runs as a user and group of its own out of this range, which no distribution, container
runtime or directory service gives out. A state directory has its part of it, so that two do not count as one user."""
_GONE = ".gone-"
_REMOVE = 'rm -rf -- "$@" 2>/dev/null || { chmod -R u+rwx -- "$@"; rm -rf -- "$@"; }'


@dataclass(frozen=True, slots=True)
class Place:
    """One box on this machine."""

    project: str
    number: int
    path: Path
    uid: int | None
    """Who the sandbox is outside; None for ourselves, where we are no root."""

    @property
    def address(self) -> str:
        """The first three numbers of what it dials from."""
        return squid.box_address(self.number)

    @property
    def workspace(self) -> Path:
        """What the agent works on; /workspace inside."""
        return self.path / "workspace"

    @property
    def claude(self) -> Path:
        """Claude's own memory; ~/.claude inside."""
        return self.path / "claude"

    @property
    def made(self) -> Path:
        """The sandbox's own /etc and its system-call filter."""
        return self.path / "run" / "made"

    @property
    def wrap(self) -> Path:
        """How boxrun gets into the sandbox."""
        return self.path / "run" / "wrap.json"

    @property
    def notes(self) -> Path:
        """What commands outside the sandbox must know of the box, also after a restart."""
        return self.path / "run" / "box.json"

    @property
    def git(self) -> Path:
        """The guarded repositories, out of the agent's reach."""
        return self.path / "git"

    @property
    def home(self) -> Path:
        """An empty home for git."""
        return self.path / "run" / "home"

    def make(self, machine: str) -> None:
        """Make what is missing; raises BoxFailed where the sandbox's user cannot be given its directories."""
        for path in (self.workspace, self.claude, self.made, self.git, self.home, self.path / "jobs"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.made.chmod(0o755)
        for name, text in sandbox.etc_files(self.project).items():
            write_whole(self.made / name, text, 0o644)
        new = self.made / ".filter.new"
        new.write_bytes(seccomp.program(machine))
        new.chmod(0o644)
        new.replace(self.made / "filter")
        for path in (self.workspace, self.claude):
            self._give(path)

    def note(self, box: Box) -> None:
        """Write down where the box's keys are and what its commands may use."""
        paths = {"deploy_key": box.deploy_key, "known_hosts": box.known_hosts}
        notes = {"processes": box.limits.processes, **{name: str(path or "") for name, path in paths.items()}}
        write_whole(self.notes, json.dumps(notes), 0o600)

    def noted(self) -> Box:
        """The box as it was written down; without keys where it never was."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return Box(self.project)
        key, hosts = (Path(notes[name]) if notes[name] else None for name in ("deploy_key", "known_hosts"))
        return Box(self.project, (), Limits(processes=notes["processes"]), key, hosts)

    def _give(self, path: Path) -> None:
        """Make a directory the sandbox user's, with all in it where it was another's."""
        uid = self.uid
        if uid is None or path.stat().st_uid == uid:
            return
        try:
            for directory, _, files in os.walk(path, topdown=False):
                for name in files:
                    os.chown(Path(directory, name), uid, uid, follow_symlinks=False)
                os.chown(directory, uid, uid, follow_symlinks=False)
        except OSError as e:
            raise BoxFailed(f"{path} cannot be given to the sandbox's user {uid}: {e.strerror}.") from e


class Boxes:
    """Every box there is; numbers are kept across restarts and given again after a delete."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "boxes"
        self._index = state_dir / "boxes.json"
        self._numbers: dict[str, int] = {}
        self.first_uid = first_uid(state_dir) if os.geteuid() == 0 else None
        """Box N is the user with N more than this."""

    def load(self) -> None:
        """Read the index; raises ValueError when it is damaged."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._numbers = dict(json.loads(self._index.read_text(encoding="utf-8")))

    def __iter__(self) -> Iterator[Place]:
        return iter([self._place(project) for project in self._numbers])

    def get(self, project: str) -> Place | None:
        """A project's box, if it has one."""
        return self._place(project) if project in self._numbers else None

    def add(self, project: str) -> Place:
        """A project's box, with the lowest free number where it is new."""
        if project not in self._numbers:
            taken = set(self._numbers.values())
            free = next((n for n in range(1, squid.HIGHEST_BOX + 1) if n not in taken), None)
            if free is None:
                raise BoxFailed(f"There are {len(taken)} boxes, and no address is left for another: delete some.")
            self._save({**self._numbers, project: free})
        return self._place(project)

    def remove(self, project: str) -> Path | None:
        """Forget a box; the directory that is left to be removed."""
        if project not in self._numbers:
            return None
        gone = self._root / f"{_GONE}{secrets.token_hex(6)}"
        with suppress(FileNotFoundError):
            (self._root / project).rename(gone)
        self._save({name: number for name, number in self._numbers.items() if name != project})
        return gone

    def gone(self) -> list[Path]:
        """What earlier deletes left."""
        return [path for path in self._root.iterdir() if path.name.startswith(_GONE)]

    def projects(self) -> Mapping[int, str]:
        """Which project has which number."""
        return {number: project for project, number in self._numbers.items()}

    def _place(self, project: str) -> Place:
        number = self._numbers[project]
        uid = None if self.first_uid is None else self.first_uid + number
        return Place(project, number, self._root / project, uid)

    def _save(self, numbers: dict[str, int]) -> None:
        write_whole(self._index, json.dumps(numbers), 0o600)
        self._numbers = numbers


def first_uid(state_dir: Path) -> int:
    """Where a state directory's users begin."""
    parts = (LAST_UID - FIRST_UID) // (squid.HIGHEST_BOX + 1)
    part = int.from_bytes(sha256(os.fsencode(state_dir.resolve())).digest()[:8], "big") % parts
    return FIRST_UID + part * (squid.HIGHEST_BOX + 1)


async def remove(directories: Iterable[Path]) -> None:
    """Remove directories that the agent may have made unwritable, in a process that can be killed."""
    if paths := [str(path) for path in directories]:
        try:
            await processes.output(["sh", "-c", _REMOVE, "sh", *paths], env={"PATH": "/usr/bin:/bin"})
        except ChildProcessError as e:
            log.warning("a deleted box could not be removed whole: %s", e)
