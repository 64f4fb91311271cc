"""What the jobs run: bash that prints its clock without starting a process for each line."""

from __future__ import annotations

_PAUSE = "exec 9<> <(:); pause() { read -rt $1 -u 9; }; "
"""A read of a pipe that nobody writes to: bash's own sleep."""


def clocks(count: int, seconds: float) -> str:
    """Print the clock so often, with so much time between."""
    return f"{_PAUSE}pause 0.3; {_loop(count, seconds)}"


def waiting_clocks(count: int, seconds: float, gate: str) -> str:
    """Print `ready`; the same once somebody opens a named pipe for writing, each job at its own moment."""
    moment = f"printf -v moment '0.%04d' $((RANDOM % {int(seconds * 10_000)})); pause $moment; "
    return f"{_PAUSE}echo ready; read -r <{gate}; {moment}{_loop(count, seconds)}"


def _loop(count: int, seconds: float) -> str:
    return f"for ((i = 0; i < {count}; i++)); do echo $EPOCHREALTIME; pause {seconds}; done; true"
