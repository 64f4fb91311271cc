"""The configuration: one strict TOML file, read once, kept as frozen models."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bot.config_errors import ConfigError, Mistake, explain, secrets_in
from bot.config_models import (
    Claude,
    Config,
    JobLimits,
    LocalBackend,
    ModelApi,
    Project,
    Retention,
    Rights,
    ServiceLimits,
)
from bot.config_values import Surroundings, default_state_dir

__all__ = [
    "Claude",
    "Config",
    "ConfigError",
    "JobLimits",
    "LocalBackend",
    "ModelApi",
    "Project",
    "Retention",
    "Rights",
    "ServiceLimits",
    "default_state_dir",
    "load",
    "locate",
    "parse",
    "schema_json",
]

SYSTEM_FILE = Path("/etc/rdev/rdev.toml")


def locate(option: str | None, environ: Mapping[str, str]) -> Path:
    """The file to read: the one asked for, else $RDEV_CONFIG, else ./rdev.toml where there is one, else /etc's."""
    if option or environ.get("RDEV_CONFIG"):
        return Path(option or environ["RDEV_CONFIG"])
    here = Path("rdev.toml")
    return here if here.exists() else SYSTEM_FILE


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the file, and the secrets it names.

    Raises ConfigError with every mistake there is.
    """
    return parse(_read(path), path, environ)


def parse(data: Mapping[str, Any], path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration that this data of a file at `path` stands for.

    Raises ConfigError with every mistake there is.
    """
    mistakes = secrets_in(data)
    config = None
    try:
        config = Config.model_validate(data, context=Surroundings(path.absolute().parent, environ))
    except ValidationError as error:
        known = {mistake.key for mistake in mistakes}
        mistakes += [mistake for mistake in explain(error, data, Config) if mistake.key not in known]
    if config is None or mistakes:
        raise ConfigError(str(path), mistakes)
    return config


def schema_json() -> str:
    """The JSON Schema of the file, for editors."""
    return json.dumps({"title": "rdev.toml", **Config.model_json_schema()}, indent=2)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Mistake("", f"byte {error.start} that is not UTF-8", "TOML in UTF-8")]) from None
    except OSError as error:
        allowed = "a readable file: --config PATH, $RDEV_CONFIG, ./rdev.toml or /etc/rdev/rdev.toml"
        raise ConfigError(str(path), [Mistake("", (error.strerror or "no file").lower(), allowed)]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line, column = _place(str(error), text)
        raise ConfigError(f"{path}:{line}:{column}", [Mistake("", f"a TOML syntax error: {what}", "TOML")]) from None


def _place(message: str, text: str) -> tuple[str, int, int]:
    """The parser's words, line and column; it says the last two inside the first."""
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if match:
        return match[1], int(match[2]), int(match[3])
    lines = text.splitlines() or [""]
    return message.removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1
