"""What Claude's lines mean: each line of the CLI's output becomes events, asks and the turn's end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor import claude_result
from executor.claude_asks import AskRequest, asks
from executor.claude_commands import Ack, Commands
from executor.claude_result import TurnResult
from executor.claude_text import Streams
from executor.claude_tools import detail, output, title
from executor.events import Event, Notice, ToolEnded, ToolStarted
from executor.lenient import clean, items, mapping, parse, text

# Known, and of no use to people.
_QUIET = frozenset(
    {
        "background_tasks_changed",
        "init",
        "status",
        "task_notification",
        "task_progress",
        "task_started",
        "task_updated",
        "thinking_tokens",
    }
)
_NAMED = frozenset({"informational", "model_fallback", "model_refusal_fallback", "notification", "session_writes_lost"})


@dataclass(frozen=True, slots=True)
class Translation:
    """What one line meant."""

    events: tuple[Event, ...] = ()
    asks: tuple[AskRequest, ...] = ()
    withdrawn: tuple[str, ...] = ()
    """Request ids of asks that need no answer any more."""
    answered: tuple[str, ...] = ()
    """Request ids whose answer has reached the CLI, and those of our own that it has answered."""
    acks: tuple[Ack, ...] = ()
    """News of the messages sent to Claude."""
    result: TurnResult | None = None


@dataclass
class _Found:
    """A translation in the making."""

    events: list[Event] = field(default_factory=list)
    asks: tuple[AskRequest, ...] = ()
    withdrawn: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    acks: list[Ack] = field(default_factory=list)
    result: TurnResult | None = None


class Translator:
    """Reads a job's journal line by line; what it must remember between two lines is `state`.

    A translator made from the state after any line goes on as the one before would have.
    """

    def __init__(self, state: str = "") -> None:
        kept = json.loads(state) if state else {}
        self._streams = Streams(kept.get("streams", {}))
        self._commands = Commands(kept.get("commands", {}))
        self._total_usd: float = kept.get("total", 0.0)
        self._running: bool = kept.get("running", False)
        self._results: int = kept.get("results", 0)
        self._background: int = kept.get("background", 0)
        self._garbled: bool = kept.get("garbled", False)
        self._unknown: int = kept.get("unknown", 0)

    def state(self) -> str:
        """All that must be remembered, as JSON: ids and counts, none of the conversation's text."""
        kept = {
            "streams": self._streams.kept(),
            "commands": self._commands.kept(),
            "total": self._total_usd,
            "running": self._running,
            "results": self._results,
            "background": self._background,
            "garbled": self._garbled,
            "unknown": self._unknown,
        }
        return json.dumps({key: value for key, value in kept.items() if value}, separators=(",", ":"))

    @property
    def idle(self) -> bool:
        """Whether all that was sent is done and nothing goes on: the job's input may be closed.

        Closing it before would deny what Claude still has to ask; a background task that ends gives it another turn.
        """
        begun = self._results > 0 or self._commands.done
        return begun and not (self._running or self._commands.waiting or self._background)

    @property
    def background(self) -> int:
        """How many subagents and commands run in the background; a server that Claude started never ends."""
        return self._background

    @property
    def unknown(self) -> int:
        """How many lines of a kind this version does not know were passed over."""
        return self._unknown

    def expect(self, uuid: str) -> None:
        """A message with this uuid is being sent: not idle until it is done."""
        self._commands.expect(uuid)

    def feed(self, line: bytes) -> Translation:
        """What the line means; never raises for what the CLI writes."""
        found = _Found()
        event = parse(line)
        if event is not None:
            self._read(event, found)
        elif line.strip() and not self._garbled:
            self._garbled = True
            found.events.append(Notice("warning", "garbled", "A line of Claude Code's output could not be read."))
        return Translation(
            tuple(found.events), found.asks, found.withdrawn, found.answered, tuple(found.acks), found.result
        )

    def _read(self, event: dict[str, Any], found: _Found) -> None:
        match event.get("type"):
            case "stream_event":
                found.events += self._streams.piece(event)
            case "assistant":
                self._assistant(event, found)
            case "user":
                self._user(event, found)
            case "system":
                self._system(event, found)
            case "result":
                self._result(event, found)
            case "control_request":
                self._control_request(event, found)
            case "control_cancel_request":
                found.withdrawn = (clean(text(event.get("request_id"))),)
            case "control_response":
                found.answered = (clean(text(mapping(event.get("response")).get("request_id"))),)
            case "command_lifecycle":
                found.acks += self._commands.lifecycle(text(event.get("command_uuid")), text(event.get("state")))
            case "rate_limit_event":
                notice = claude_result.limit(event)
                found.events += [notice] if notice else []
            case "keep_alive":
                pass
            case _:
                self._unknown += 1

    def _assistant(self, event: Mapping[str, Any], found: _Found) -> None:
        message = mapping(event.get("message"))
        parent = clean(text(event.get("parent_tool_use_id")))
        for block in map(mapping, items(message.get("content"))):
            match block.get("type"):
                case "text":
                    found.events += self._streams.whole(event, text(block.get("text")))
                case "tool_use" | "server_tool_use" | "mcp_tool_use":
                    found.events.append(_tool(block, parent))
                case "thinking" | "redacted_thinking":
                    pass
                case _:
                    self._unknown += 1

    def _user(self, event: Mapping[str, Any], found: _Found) -> None:
        if event.get("isReplay") is True:
            found.acks += self._commands.replayed(text(event.get("uuid")))
            return
        for block in map(mapping, items(mapping(event.get("message")).get("content"))):
            if block.get("type") == "tool_result":
                said, cut = output(block.get("content"))
                ok = block.get("is_error") is not True
                found.events.append(ToolEnded(clean(text(block.get("tool_use_id"))), ok, said, cut))

    def _system(self, event: Mapping[str, Any], found: _Found) -> None:
        match event.get("subtype"):
            case "api_retry":
                found.events.append(claude_result.retry(event))
            case "permission_denied":
                found.events.append(claude_result.denied(event))
            case "compact_boundary":
                found.events.append(claude_result.compacted(event))
            case "status" if event.get("status") == "compacting":
                found.events.append(Notice("info", "compact", "Claude is summarising the conversation to make room"))
            case str() as name if name in _NAMED:
                notice = claude_result.remark(name, event)
                found.events += [notice] if notice else []
            case "init":
                self._running = True
            case "background_tasks_changed":
                self._background = len(items(event.get("tasks")))
            case str() as name if name in _QUIET:
                pass
            case _:
                self._unknown += 1

    def _result(self, event: Mapping[str, Any], found: _Found) -> None:
        found.events += self._streams.close()
        spent, self._total_usd = claude_result.usage(event, self._total_usd)
        reason, sentence = claude_result.outcome(event)
        found.events.append(spent)
        if self._background:
            what = (
                "1 background task still runs" if self._background == 1 else f"{self._background} background tasks run"
            )
            found.events.append(Notice("info", "background", f"{what}; the job's end ends them."))
        found.result = TurnResult(reason == "success", reason, sentence, spent)
        found.acks += self._commands.result(event)
        self._running = False
        self._results += 1

    def _control_request(self, event: Mapping[str, Any], found: _Found) -> None:
        request_id, request = clean(text(event.get("request_id"))), mapping(event.get("request"))
        if request.get("subtype") == "can_use_tool":
            found.asks = asks(request_id, request)
            return
        self._unknown += 1
        asked = clean(text(request.get("subtype"))[:60])
        found.events.append(
            Notice("warning", "unsupported", f"Claude Code asked for {asked}, which rdev does not know.")
        )


def _tool(block: Mapping[str, Any], parent: str) -> ToolStarted:
    name, given = clean(text(block.get("name"))[:200]), mapping(block.get("input"))
    return ToolStarted(clean(text(block.get("id"))), name, title(name, given), detail(given), parent)
