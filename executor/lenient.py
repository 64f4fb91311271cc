"""Reading JSON that drifts: whatever is there, a value of the wanted type comes back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse(line: bytes) -> dict[str, Any] | None:
    """The object on a line, or None where there is none."""
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> Sequence[Any]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else ()


def text(value: Any) -> str:
    """The value if it is a string, else an empty one; not yet cleaned."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> float:
    """The value if it is a finite number, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        result = float(value)
    except OverflowError:
        return 0.0
    return result if math.isfinite(result) else 0.0


def clean(value: str) -> str:
    """The text without what UTF-8 encoders and SQLite refuse: NULs and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", value)


def one_line(value: str, limit: int = 200) -> str:
    """The first line that says something, cut to so many characters."""
    first = next((line.strip() for line in value[: limit * 20].splitlines() if line.strip()), "")
    return clean(first if len(first) <= limit else first[: limit - 1] + "…")
