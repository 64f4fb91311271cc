"""Claude's tools in words: what people see of a call and of what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from executor.lenient import clean, items, mapping, one_line, text

LIMIT = 16 * 1024
"""Bytes of a call's input, or of its output, that an event carries."""

# The field of the input that says best what a call does, by tool.
_TELLING = {
    "Bash": ("command",),
    "Edit": ("file_path",),
    "MultiEdit": ("file_path",),
    "Write": ("file_path",),
    "Read": ("file_path",),
    "NotebookEdit": ("notebook_path",),
    "Grep": ("pattern",),
    "Glob": ("pattern",),
    "LS": ("path",),
    "WebFetch": ("url",),
    "WebSearch": ("query",),
    "ToolSearch": ("query",),
    "Agent": ("description", "prompt"),
    "Task": ("description", "prompt"),
    "Skill": ("skill", "command"),
    "TaskCreate": ("subject", "description"),
    "TaskUpdate": ("status", "taskId"),
    "ExitPlanMode": ("plan",),
}
_USUAL = ("description", "command", "file_path", "path", "pattern", "query", "url", "name", "title")


def title(name: str, given: Mapping[str, Any]) -> str:
    """One line that says what the call does, without the tool's name."""
    if name == "TodoWrite":
        return _progress(given)
    if name == "AskUserQuestion":
        return one_line(" · ".join(text(mapping(q).get("question")) for q in items(given.get("questions"))))
    for field in _TELLING.get(name, _USUAL):
        found = one_line(text(given.get(field)))
        if found:
            return found
    return ""


def _progress(given: Mapping[str, Any]) -> str:
    todos = [mapping(todo) for todo in items(given.get("todos"))]
    done = sum(1 for todo in todos if todo.get("status") == "completed")
    current = next((todo for todo in todos if todo.get("status") == "in_progress"), {})
    doing = text(current.get("activeForm")) or text(current.get("content"))
    return one_line(f"{done} of {len(todos)} done" + (f": {doing}" if doing else ""))


def detail(given: Mapping[str, Any]) -> str:
    """The call's input as JSON, with long strings shortened until it fits an event; empty where nothing helps."""
    for limit in (LIMIT, 4000, 1000, 200, 40):
        shown = clean(json.dumps(_shortened(given, limit), ensure_ascii=False))
        if len(shown.encode()) <= LIMIT:
            return shown
    return ""


def _shortened(value: Any, limit: int) -> Any:
    match value:
        case str() if len(value) > limit:
            return f"{value[:limit]}… ({len(value) - limit} characters more)"
        case dict():
            return {key: _shortened(inner, limit) for key, inner in value.items()}
        case list():
            return [_shortened(inner, limit) for inner in value]
        case _:
            return value


def output(content: Any) -> tuple[str, bool]:
    """What a tool result says, and whether some of it was left out."""
    whole = content if isinstance(content, str) else "\n".join(_part(mapping(part)) for part in items(content))
    for mark in ("tool_use_error", "error"):
        whole = whole.removeprefix(f"<{mark}>").removesuffix(f"</{mark}>")
    return fit(whole)


def _part(part: Mapping[str, Any]) -> str:
    match part.get("type"):
        case "text":
            return text(part.get("text"))
        case "tool_reference":
            return text(part.get("tool_name"))
        case kind:
            return f"({text(kind) or 'something'})"


def fit(whole: str, limit: int = LIMIT) -> tuple[str, bool]:
    """The text in at most so many bytes: its beginning and its end, where most is said; and whether it was cut."""
    if len(whole) * 4 <= limit:
        return clean(whole), False
    data = clean(whole).encode()
    if len(data) <= limit:
        return data.decode(), False
    half = (limit - 64) // 2
    head, tail = data[:half].decode(errors="ignore"), data[-half:].decode(errors="ignore")
    return f"{head}\n… {len(data) - 2 * half} bytes left out …\n{tail}", True
