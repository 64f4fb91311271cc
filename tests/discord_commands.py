"""Application commands: what Discord refuses when they are registered, and a person's input as their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from discord_refusals import COMMAND_NAME, between, invalid, length
from discord_wire import Wire

STRING, INTEGER, BOOLEAN, USER, NUMBER, ATTACHMENT = 3, 4, 5, 6, 10, 11
SUBCOMMAND, GROUP = 1, 2


def check_commands(commands: Sequence[Wire]) -> None:
    """A hundred commands a scope, each within its limits, and no two of a kind with one name."""
    if sum(one.get("type", 1) == 1 for one in commands) > 100:
        raise invalid("_", "APPLICATION_COMMAND_TOO_MANY", "Maximum number of application commands reached (100)")
    seen: set[tuple[int, str]] = set()
    for index, command in enumerate(commands):
        kind = command.get("type", 1)
        if (kind, command["name"]) in seen:
            code = "APPLICATION_COMMANDS_DUPLICATE_NAME"
            raise invalid(f"{index}.name", code, "Application command names must be unique")
        seen.add((kind, command["name"]))
        if kind != 1:
            length(f"{index}.name", command["name"], 1, 32)
            length(f"{index}.description", command.get("description") or "", 0, 0)
            continue
        check_command(str(index), command)
        if weight(command) > 8000:
            code = "APPLICATION_COMMAND_TOO_LARGE"
            raise invalid(str(index), code, "Command exceeds maximum size (8000)")


def check_command(path: str, command: Wire) -> None:
    """One command, subcommand or option, and all below it."""
    name = command["name"]
    if not COMMAND_NAME.fullmatch(name) or name != name.lower():
        raise invalid(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    length(f"{path}.description", command.get("description"), 1, 100)
    options = command.get("options") or []
    between(f"{path}.options", len(options), 0, 25)
    needed = [bool(option.get("required")) for option in options]
    if needed != sorted(needed, reverse=True):
        code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"
        raise invalid(f"{path}.options", code, "Required options must be placed before non-required options")
    for index, option in enumerate(options):
        check_command(f"{path}.options.{index}", option)
    choices = command.get("choices") or []
    between(f"{path}.choices", len(choices), 0, 25)
    for index, choice in enumerate(choices):
        length(f"{path}.choices.{index}.name", choice["name"], 1, 100)


def weight(command: Wire) -> int:
    """Characters of names, descriptions and values in a command."""
    own = len(command["name"]) + len(command.get("description") or "")
    choices = sum(len(one["name"]) + len(str(one["value"])) for one in command.get("choices") or ())
    return own + choices + sum(weight(option) for option in command.get("options") or ())


class NotOffered(Exception):
    """A person's Discord would not let them send this."""


def find(commands: Sequence[Wire], words: str, kind: int = 1) -> tuple[Wire, list[Wire]]:
    """The registered command for `rdev stop`, and the subcommands that lead to its options."""
    first, *rest = words.split() if kind == 1 else [words]
    for command in commands:
        if command["name"] == first and command.get("type", 1) == kind:
            break
    else:
        raise NotOffered(f"no command {first!r} is registered")
    path: list[Wire] = []
    options = command.get("options") or []
    for word in rest:
        inner = [one for one in options if one["name"] == word and one["type"] in (SUBCOMMAND, GROUP)]
        if not inner:
            raise NotOffered(f"{words!r}: there is no {word!r}")
        path.append(inner[0])
        options = inner[0].get("options") or []
    if any(one["type"] in (SUBCOMMAND, GROUP) for one in options):
        raise NotOffered(f"{words!r} needs a subcommand")
    return command, path


def fill(options: Sequence[Wire], given: Mapping[str, Any], focused: str = "") -> list[Wire]:
    """The options as the client sends them; an autocomplete (`focused`) may leave out what is required."""
    by_name = {option["name"]: option for option in options}
    if unknown := set(given) - set(by_name):
        raise NotOffered(f"no such option: {', '.join(sorted(unknown))}")
    missing = [name for name, option in by_name.items() if option.get("required") and name not in given]
    if missing and not focused:
        raise NotOffered(f"required: {', '.join(missing)}")
    filled = []
    for name, value in given.items():
        _check(by_name[name], value, partial=bool(focused))
        mark = {"focused": True} if name == focused else {}
        filled.append({"name": name, "type": by_name[name]["type"], "value": value, **mark})
    if focused and not by_name[focused].get("autocomplete"):
        raise NotOffered(f"{focused!r} has no autocomplete")
    return filled


def _check(option: Wire, value: Any, *, partial: bool) -> None:
    kinds = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: float}
    if not isinstance(value, kinds.get(option["type"], str)):
        raise NotOffered(f"{option['name']!r} does not take {value!r}")
    if partial:
        return
    choices = [one["value"] for one in option.get("choices") or ()]
    if choices and value not in choices:
        raise NotOffered(f"{value!r} is none of the choices of {option['name']!r}")
    if isinstance(value, str) and not option.get("min_length", 0) <= len(value) <= (option.get("max_length") or 6000):
        raise NotOffered(f"{option['name']!r} is too short or too long")
