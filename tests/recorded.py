"""The recorded exchanges with the CLI, as the lines that a journal holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SAMPLES = sorted(path for path in (Path(__file__).parent / "samples/claude").iterdir() if path.suffix != ".md")
NAMES = [path.name for path in SAMPLES]
_LOGGED = re.compile(rb"\s*[0-9.]+ ([<>E]) (.*)", re.DOTALL)


def lines(name: str) -> list[bytes]:
    """What the CLI wrote to its stdout."""
    path = next(path for path in SAMPLES if path.name == name)
    whole = path.read_bytes().splitlines(keepends=True)
    if path.suffix == ".jsonl":
        return whole
    logged = [_LOGGED.fullmatch(line) for line in whole]
    return [match[2] for match in logged if match and match[1] == b"<"]


def objects(name: str) -> list[dict[str, Any]]:
    """The same, parsed."""
    return [json.loads(line) for line in lines(name)]
