"""What a backend's command really runs on this machine: boxrun's own words, or git with an environment made for it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from claudebox import boxrun
from executor import sandbox
from executor.backend import Box, Container
from executor.boxes import Place
from executor.host import PATH, search


@dataclass(frozen=True, slots=True)
class Command:
    """An argv, all of its environment, and where it starts."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


def command(place: Place, argv: Sequence[str], container: Container, cwd: str) -> Command:
    """The command for one side of the fence; only the sandbox has directories to choose from."""
    match container:
        case Container.BOXRUN:
            return Command([*_boxrun(place), *argv], {"PATH": search()}, place.path)
        case Container.AGENT:
            inside = [
                "exec",
                "--cwd",
                cwd or "/workspace",
                "--stdin",
                "--",
                *sandbox.limited(argv, place.noted().limits),
            ]
            return Command([*_boxrun(place), *inside], {"PATH": search()}, place.path)
        case Container.GIT:
            return Command(argv, git_environment(place, place.noted()), place.git / cwd)


def _boxrun(place: Place) -> list[str]:
    return [sys.executable, "-I", "-S", str(boxrun()), "--root", str(place.path), "--wrap", str(place.wrap)]


def git_environment(place: Place, box: Box) -> dict[str, str]:
    """What git and ssh see: an empty home, one key or none, hosts that are trusted or written down when first met."""
    return {
        "PATH": PATH,
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": shlex.join(_ssh(box, place.home.with_name("known_hosts"))),
    }


def _ssh(box: Box, met: Path) -> list[str]:
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": str(box.known_hosts or met),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes" if box.known_hosts else "accept-new",
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
    }
    if box.deploy_key is None:
        options["IdentityFile"] = "none"  # ssh looks into the account's real home, whatever HOME says
    argv = ["ssh", "-F", "/dev/null"]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, "-i", str(box.deploy_key)] if box.deploy_key else argv
