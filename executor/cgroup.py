"""Limits of a box's memory, processors and processes by cgroup v2, where this machine lets us make one."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from executor.backend import Limits

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
_PERIOD = 100_000


def values(limits: Limits) -> dict[str, str]:
    """The files of a cgroup and what to write into them."""
    found = {}
    if limits.cpus:
        found["cpu.max"] = f"{max(1000, round(limits.cpus * _PERIOD))} {_PERIOD}"
    if limits.memory_bytes:
        found |= {"memory.max": str(limits.memory_bytes), "memory.swap.max": "0", "memory.oom.group": "0"}
    if limits.processes:
        found["pids.max"] = str(8 * limits.processes)  # of all jobs of the box; a job's own limit is set inside
    return found


def parent(name: str, root: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> Path | None:
    """A group of ours that can hold the boxes' groups with all three controllers; None where there can be none."""
    if not (root / "cgroup.controllers").exists():
        return None
    own = root if os.geteuid() == 0 else _delegated(root, membership)
    if own is None:
        return None
    group = own / name
    try:
        group.mkdir(exist_ok=True)
        for directory in (own, group):
            enabled = (directory / "cgroup.subtree_control").read_text(encoding="ascii").split()
            missing = [f"+{controller}" for controller in _CONTROLLERS if controller not in enabled]
            if missing:
                (directory / "cgroup.subtree_control").write_text(" ".join(missing), encoding="ascii")
    except OSError as e:
        log.info("no cgroup can be made at %s: %s", group, e.strerror)
        with suppress(OSError):
            group.rmdir()
        return None
    return group


def _delegated(root: Path, membership: Path) -> Path | None:
    """The group above ours, where systemd gave it to this user."""
    for line in membership.read_text(encoding="ascii").splitlines():
        if line.startswith("0::/"):
            above = (root / line[4:]).parent
            return above if os.access(above / "cgroup.procs", os.W_OK) else None
    return None


def make(group: Path | None, project: str, limits: Limits) -> str:
    """A box's own group with its limits, as the path boxrun writes itself into; empty where there is none."""
    if group is None:
        return ""
    box = group / project
    try:
        box.mkdir(exist_ok=True)
        for name, value in values(limits).items():
            with suppress(FileNotFoundError):  # no swap accounting, say
                (box / name).write_text(value, encoding="ascii")
    except OSError as e:
        log.warning("the box has no cgroup and is held by resource limits alone: %s: %s", box, e.strerror)
        return ""
    return str(box)


def remove(group: Path | None, project: str) -> None:
    """Remove a box's group; one that is still in use goes at the next delete."""
    if group is not None:
        with suppress(OSError):
            (group / project).rmdir()
