"""The bench: how fast rdev is and what it takes, beside the raw baseline of the same work; all on loopback.

.venv/bin/python tests/bench/run.py [PART[=COUNT] …] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import audited
import claude_turn
import crowd
import latency
import start
import throughput
from figures import Failure, Figure, as_json, table


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the bench, and how much it does unless told otherwise."""

    measure: Callable[[int], Awaitable[list[Figure]]]
    count: int
    unit: str


PARTS = {
    latency.PART: Part(latency.measure, 200, "lines, 25 ms apart, from a job to the surface"),
    throughput.PART: Part(throughput.measure, 200, "megabytes of output through the whole path"),
    crowd.LAG: Part(crowd.lag, 200, "jobs at once, ten lines a second each"),
    claude_turn.PART: Part(claude_turn.measure, 7, "turns of Claude in a running box"),
    start.PART: Part(start.measure, 5, "starts of the service"),
    crowd.REFOLLOW: Part(crowd.refollow, 200, "running jobs followed again after a kill"),
    audited.PART: Part(audited.measure, 20_000, "audited acts"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 1 where a part could not be measured."""
    args = _parser().parse_args(argv)
    began = time.monotonic()
    counts = dict(args.parts) or {name: part.count for name, part in PARTS.items()}
    try:
        figures, failures = asyncio.run(_measure(counts))
    except asyncio.CancelledError:
        return 130
    text = as_json(figures, failures, time.monotonic() - began)
    print(table(figures, failures))
    if args.json:
        args.json.write_text(text + "\n")
    else:
        print(f"\n{text}")
    return 1 if failures else 0


async def _measure(counts: dict[str, int]) -> tuple[list[Figure], list[Failure]]:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):  # what runs in a place is ended with it
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    figures: list[Figure] = []
    failures: list[Failure] = []
    for name, count in counts.items():
        print(f"{name}: {count} {PARTS[name].unit} …", end=" ", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            figures += await PARTS[name].measure(count)
        except Exception as error:  # noqa: BLE001  # the other parts are measured all the same
            failures.append(Failure(name, f"{type(error).__name__}: {error}"))
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return figures, failures


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {name:<12} {part.count:>6} {part.unit}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"parts, and how much each does:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART[=COUNT]", help="measure these alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON there instead of after the table")
    return parser


def _part(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part {name!r}, but {', '.join(PARTS)}")
    try:
        return name, int(count) if count else PARTS[name].count
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{count!r} is not a number") from error


if __name__ == "__main__":
    sys.exit(main())
