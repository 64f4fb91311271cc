"""What happens in a job, as values: the alternatives of one union, read by `match`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job was accepted: who asked for what."""

    type: ClassVar[str] = "accepted"
    actor: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """The job's process runs."""

    type: ClassVar[str] = "started"
    branch: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A person's further message reached the running job."""

    type: ClassVar[str] = "follow_up"
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Claude's words, in pieces; `end` closes a block."""

    type: ClassVar[str] = "text"
    text: str
    end: bool = False
    parent: str = ""
    """The tool call of the subagent that speaks; empty for Claude itself."""


@dataclass(frozen=True, slots=True)
class Output:
    """A shell or git command's output, in pieces."""

    type: ClassVar[str] = "output"
    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """Claude uses a tool."""

    type: ClassVar[str] = "tool"
    id: str
    name: str
    title: str
    """One line: the command, the path, the pattern."""
    detail: str = ""
    """The whole input as JSON, at most 16 KiB."""
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call came back."""

    type: ClassVar[str] = "tool_end"
    id: str
    ok: bool
    output: str = ""
    """At most 16 KiB; the journal has the whole."""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class AskRaised:
    """The work waits for a person."""

    type: ClassVar[str] = "ask"
    id: str
    kind: str
    """permission, question, plan, domain, push or confirm"""
    title: str
    body: str
    """The whole command, plan or question."""
    choices: tuple[str, ...] = ()
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class AskClosed:
    """An ask was answered, withdrawn or expired."""

    type: ClassVar[str] = "answer"
    id: str
    outcome: str
    """answered, withdrawn or expired"""
    answer: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something people should know."""

    type: ClassVar[str] = "notice"
    level: str
    """info, warning or error"""
    code: str
    """A stable word for programs: retry, limit, denied, lost …"""
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What one turn cost; the amounts are this turn's own and may be summed."""

    type: ClassVar[str] = "usage"
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    turns: int = 0
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """The turn's changes became a checkpoint commit on the session's branch."""

    type: ClassVar[str] = "commit"
    commit: str
    branch: str
    stat: str
    """git's own short diff stat."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The branch went to the project's remote."""

    type: ClassVar[str] = "push"
    branch: str
    commit: str
    url: str = ""
    """A page to open a pull request on, where the host is known."""


@dataclass(frozen=True, slots=True)
class Completed:
    """The job reached its end; nothing follows."""

    type: ClassVar[str] = "complete"
    state: str
    exit_code: int
    duration_ms: int
    reason: str = ""
    cost_usd: float = 0.0
    tokens: int = 0


Event = (
    Accepted
    | Started
    | FollowUp
    | Text
    | Output
    | ToolStarted
    | ToolEnded
    | AskRaised
    | AskClosed
    | Notice
    | Usage
    | Committed
    | Pushed
    | Completed
)

_TYPES: dict[str, Any] = {
    kind.type: kind
    for kind in (
        Accepted,
        Started,
        FollowUp,
        Text,
        Output,
        ToolStarted,
        ToolEnded,
        AskRaised,
        AskClosed,
        Notice,
        Usage,
        Committed,
        Pushed,
        Completed,
    )
}
_NAMES: dict[Any, tuple[str, ...]] = {kind: tuple(field.name for field in fields(kind)) for kind in _TYPES.values()}
_JSON = json.JSONEncoder(ensure_ascii=False)


def encode(event: Event) -> str:
    """The event's fields as a JSON object, without its type."""
    return _JSON.encode({name: getattr(event, name) for name in _NAMES[type(event)]})


def decode(kind: str, payload: str) -> Event:
    """The event of that type; fields of a later version are passed over.

    Raises KeyError for an unknown type.
    """
    cls = _TYPES[kind]
    known = _NAMES[cls]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(payload).items() if k in known}
    event: Event = cls(**values)
    return event
