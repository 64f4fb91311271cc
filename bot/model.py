"""The nouns that everything in bot speaks of, frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from executor.events import Event

__all__ = [
    "Ask",
    "AskKind",
    "AskState",
    "AuditEntry",
    "Delivery",
    "Entry",
    "Grant",
    "Job",
    "JobKind",
    "JobState",
    "Session",
    "replace",
]


class JobKind(StrEnum):
    """What a job runs."""

    CLAUDE = "claude"
    SHELL = "shell"
    GIT = "git"


class JobState(StrEnum):
    """Where a job is; the last three never change."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to the job."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation about a project, with its own branch, worktree and Claude session."""

    id: str
    project: str
    name: str
    """Unique in the project; the branch is `rdev/<name>`."""
    claude_id: str
    """The CLI's session id, a UUID."""
    actor: str
    created: float
    """Seconds since the epoch, as every time in the store."""
    model: str = ""
    effort: str = ""
    mode: str = ""
    """`plan`, or empty for the project's usual permissions."""
    claude_started: bool = False
    """Whether the CLI knows the session already: resume then, create otherwise."""
    deleted: bool = False

    @property
    def branch(self) -> str:
        """The session's branch."""
        return f"rdev/{self.name}"


@dataclass(frozen=True, slots=True)
class Job:
    """One turn run in a session."""

    id: str
    session: str
    project: str
    kind: JobKind
    state: JobState
    actor: str
    surface: str
    """Where it was asked: `console`, `discord:<guild>`, `slack:<team>` …"""
    thread: str
    text: str
    """The prompt, the command line or git's arguments, redacted."""
    created: float
    slot: int = 0
    """The network slot while it runs, from 1; 0 when it holds none."""
    offset: int = 0
    """Bytes of the journal that have become events."""
    follow: str = ""
    """What the translator of the journal must remember at that offset, as JSON."""
    phase: str = ""
    """How far the end of the job got: "", exited, committed, pushed."""
    seq: int = 0
    """The last event's number."""
    started: float = 0.0
    ended: float = 0.0
    exit_code: int | None = None
    reason: str = ""
    cost_usd: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a job, numbered from 1 with no gaps."""

    job: str
    seq: int
    time: float
    event: Event


class AskKind(StrEnum):
    """What a person is asked."""

    PERMISSION = "permission"
    QUESTION = "question"
    PLAN = "plan"
    DOMAIN = "domain"
    PUSH = "push"
    CONFIRM = "confirm"


class AskState(StrEnum):
    """Whether an ask still waits."""

    OPEN = "open"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a person that work waits on."""

    id: str
    job: str
    """Empty where no job waits: a `confirm` of a command."""
    project: str
    session: str
    kind: AskKind
    request: str
    """What the asker needs to make an answer of a choice, as JSON."""
    state: AskState
    created: float
    expires: float
    """0 for never."""
    answer: str = ""
    """The answer as JSON, once there is one."""
    actor: str = ""
    sent: bool = False
    """Whether the answer has reached who asked."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far one surface's thread has shown one job."""

    job: str
    surface: str
    thread: str
    seq: int = 0
    messages: str = ""
    """The ids of the messages that show it, as the surface keeps them (JSON)."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """A domain that a person allowed beyond the configuration."""

    project: str
    session: str
    """Empty for the whole project."""
    domain: str
    actor: str
    created: float
    expires: float
    """0 for as long as the session or project lives."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act, as it goes into the audit log."""

    action: str
    """claude, shell, git, push, stop, answer, grant, refused …"""
    actor: str
    project: str = ""
    session: str = ""
    job: str = ""
    prompt: str = ""
    """The prompt or argv, redacted."""
    duration_ms: int | None = None
    exit_code: int | None = None
    outcome: str = ""
