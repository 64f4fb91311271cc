"""What was measured, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, what it should be, and what the same work takes bare."""

    part: str
    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    """Whether the target is a floor; a ceiling otherwise."""
    bare: float | None = None
    bare_name: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that could not be measured, and why."""

    part: str
    reason: str


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies."""
    return sorted(values)[round(share * (len(values) - 1))]


def table(figures: Sequence[Figure], failures: Sequence[Failure]) -> str:
    """The figures in columns."""
    head = ("figure", "rdev", "target", "bare", "", "met")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "─" * max(map(len, lines)))
    lines += [f"{failure.part}: could not be measured: {failure.reason}" for failure in failures]
    return "\n".join(lines)


def as_json(figures: Sequence[Figure], failures: Sequence[Failure], seconds: float) -> str:
    """The figures, and the machine they were taken on."""
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    rows = [json.dumps({**asdict(figure), "met": figure.met}, ensure_ascii=False) for figure in figures]
    lines = ",\n  ".join(rows)
    rest = json.dumps({"seconds": round(seconds, 1), "failures": [asdict(failure) for failure in failures]})[1:]
    return f'{{"machine": {json.dumps(machine)},\n "figures": [\n  {lines}\n ],\n {rest}'


def _row(figure: Figure) -> tuple[str, ...]:
    target = ""
    if figure.target is not None:
        target = f"{'≥' if figure.at_least else '≤'} {_number(figure.target)} {figure.unit}"
    bare = "" if figure.bare is None else f"{_number(figure.bare)} {figure.unit}"
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    return (
        f"{figure.part}: {figure.name}",
        f"{_number(figure.value)} {figure.unit}",
        target,
        bare,
        figure.bare_name,
        met,
    )


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    right = {1, 2, 3}
    cells = [
        text.rjust(width) if column in right else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
