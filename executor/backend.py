"""The port to the place where jobs run: few verbs, the same for a pod and for a sandbox on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class BoxState(StrEnum):
    """Where a box is in its life."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BoxStatus:
    """The state of one project's box, and the reason where it failed."""

    project: str
    state: BoxState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job in a box may use; 0 means no limit of ours."""

    cpus: float = 0
    memory_bytes: int = 0
    processes: int = 0
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """What a backend must know of a project to make its box."""

    project: str
    """The project's id: lower-case letters, digits and dashes."""
    domains: tuple[str, ...] = ()
    """Hosts a job may reach, `example.org`, `.example.org` (and below) or `example.org:8443`."""
    limits: Limits = field(default_factory=Limits)
    deploy_key: Path | None = None
    """A private key file for `git` over ssh; it never enters the agent's sandbox."""
    known_hosts: Path | None = None
    readonly_paths: tuple[Path, ...] = ()
    """More of the machine to show the sandbox, read-only."""


class Container(StrEnum):
    """Which side of the fence a command runs on."""

    AGENT = "agent"
    """In the sandbox, without network; working directories are below /workspace."""
    GIT = "git"
    """Outside, where the deploy key is; starts in the guarded repositories' directory."""
    BOXRUN = "boxrun"
    """The box's boxrun: argv is boxrun's own arguments."""


class Process(Protocol):
    """A running command: bytes in, bytes out, an exit code."""

    async def write(self, data: bytes) -> None:
        """Send bytes to stdin, waiting while the command does not read."""

    async def close_stdin(self) -> None:
        """Tell the command that no more input comes."""

    async def read(self, limit: int = 65536) -> bytes:
        """The next bytes of stdout, at most `limit`; empty at the end."""

    async def wait(self) -> int:
        """The exit code; a signal N is 128 + N."""

    def stderr(self) -> str:
        """The last 16 KiB the command wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A connection the egress filter refused."""

    project: str
    slot: int
    """Which of the box's network slots asked (a job's slot); 0 when unknown."""
    host: str
    port: int
    count: int = 1


class Backend(Protocol):
    """A kind of place to run boxes in."""

    async def start(self, box: Box) -> None:
        """Bring the box to Running, or leave it so; proves that squid is the only way out.

        Raises BoxFailed with the reason as a sentence.
        """

    async def stop(self, project: str) -> None:
        """Kill everything in the box and keep its workspace."""

    async def delete(self, project: str) -> None:
        """Stop the box and remove its workspace."""

    async def status(self) -> Mapping[str, BoxStatus]:
        """Every box there is, by project."""

    def exec(
        self,
        project: str,
        argv: Sequence[str],
        *,
        container: Container = Container.AGENT,
        cwd: str = "",
    ) -> AbstractAsyncContextManager[Process]:
        """Run a short command; leaving the context kills it."""

    async def allow(self, project: str, slot: int, domains: Sequence[str]) -> None:
        """Set what may be reached, from now on: slot 0 for the whole box, else what one slot may reach beyond that."""

    def denials(self) -> AsyncIterator[Denial]:
        """Refused connections as they happen, until cancelled; one reader."""
