"""The command table as Discord's application commands, and what a person fills in as a line of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.commands import COMMANDS, Command, Takes

ASK_ABOUT = "Ask Claude about this"
"""The name of the command on messages."""
_SUBCOMMAND, _STRING, _INTEGER, _BOOLEAN = 1, 3, 4, 5
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_SPOKEN = {
    "claude": {"text": ("prompt", "What Claude is to do")},
    "shell": {"text": ("command", "The command line")},
    "git": {"text": ("arguments", "What comes after “git”")},
}
_NAMED = {
    "project": ("project", "One of the projects you may use"),
    "session": ("session", "A session; by default this thread's"),
    "job": ("job", "A job's id; by default this thread's latest"),
    "project|session|job": ("target", "A project, a session or a job; by default this thread's session"),
    "session|project": ("target", "A session or a project; by default this thread's session"),
    "checkpoint": ("checkpoint", "The checkpoint's number"),
    "domain": ("domain", "Such as example.org or .example.org"),
    "command": ("command", "The name of a command"),
}
_ANSWER = (("ask", "The id of the ask", True), ("answer", "The answer", True))
_COMPLETED = frozenset({"project", "session", "target"})
_PLACE = re.compile(r"([<\[])([^>\]]+)[>\]]")


def registered() -> list[dict[str, Any]]:
    """Every application command, as Discord wants them registered."""
    guild_only = {"contexts": [0], "integration_types": [0]}
    single = [_command(command) for command in COMMANDS if not command.name.startswith("rdev ")]
    below = [
        {"type": _SUBCOMMAND, **_command(command)}
        for command in COMMANDS
        if command.name.startswith("rdev ")
    ]  # fmt: skip
    group = {"name": "rdev", "description": "What runs, and what to do with it", "options": below}
    about = {"name": ASK_ABOUT, "type": 3}
    return [{"type": 1, **each, **guild_only} for each in (*single, group)] + [{**about, **guild_only}]


def line(data: Mapping[str, Any]) -> str:
    """The line of ours that says what a person filled in."""
    name, options = _called(data)
    command = next(each for each in COMMANDS if each.name == name)
    given = {str(option["name"]): option["value"] for option in options}
    flags = [flag for each in command.flags if (flag := _flag(each, given))]
    places = [option for option, _, _ in _places(command) if option in given]
    if command.takes is Takes.PROMPT:
        words = [_word(given["project"]), *flags, *(str(given[place]) for place in places[1:])]
    else:
        *first, last = places or [""]
        words = [*(_word(given[place]) for place in first), *([str(given[last])] if last else []), *flags]
    return " ".join(["/" + name, *words])


def focused(data: Mapping[str, Any]) -> tuple[str, str, str]:
    """What is being typed: the command's name, the option's, and its beginning."""
    name, options = _called(data)
    option = next((each for each in options if each.get("focused")), None)
    return (name, str(option["name"]), str(option["value"])) if option else (name, "", "")


def _called(data: Mapping[str, Any]) -> tuple[str, Sequence[Mapping[str, Any]]]:
    options: Sequence[Mapping[str, Any]] = data.get("options") or ()
    if options and options[0]["type"] == _SUBCOMMAND:
        return f"{data['name']} {options[0]['name']}", options[0].get("options") or ()
    return str(data["name"]), options


def _command(command: Command) -> dict[str, Any]:
    places = [_option(name, about, needed) for name, about, needed in _places(command)]
    options = [*places, *(_flag_option(flag) for flag in command.flags)]
    name = command.name.removeprefix("rdev ")
    return {"name": name, "description": command.summary[:100], "options": options}


def _places(command: Command) -> Iterator[tuple[str, str, bool]]:
    """What follows the command's name: each place's name, what it is, and whether it must be filled."""
    if command.name == "rdev answer":
        yield from _ANSWER
        return
    for bracket, place in _PLACE.findall(command.takes.value):
        name, about = _SPOKEN.get(command.name, {}).get(place) or _NAMED[place]
        yield name, about, bracket == "<"


def _option(name: str, about: str, needed: bool) -> dict[str, Any]:
    kind = _INTEGER if name == "checkpoint" else _STRING
    option: dict[str, Any] = {"type": kind, "name": name, "description": about, "required": needed}
    return option | ({"autocomplete": True} if name in _COMPLETED else {})


def _flag_option(flag: str) -> dict[str, Any]:
    name, _, value = flag.removeprefix("--").partition(" ")
    kind = _STRING if value else _BOOLEAN
    option: dict[str, Any] = {"type": kind, "name": name, "description": f"As {flag}", "required": False}
    choices = [{"name": effort, "value": effort} for effort in _EFFORTS] if name == "effort" else []
    return option | ({"choices": choices} if choices else {})


def _flag(flag: str, given: Mapping[str, Any]) -> str:
    name, _, takes = flag.partition(" ")
    value = given.get(name.removeprefix("--"))
    if not value:
        return ""
    return f"{name} {_word(value)}" if takes else name


def _word(value: object) -> str:
    """A value as one word, so that what is in it cannot become another place or a flag."""
    return "-".join(str(value).split()).lstrip("-") or "?"
