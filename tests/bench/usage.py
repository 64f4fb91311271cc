"""What processes use, as the kernel counts it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PEAK = "5"
"""What clear_refs takes to begin the peak anew."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in MiB and processor time in seconds."""

    rss: float
    peak: float
    share: float
    """Of memory: what is shared with other processes counts in part."""
    cpu: float


def usage(pid: int) -> Usage:
    """One process's, its threads' included; raises OSError when it is gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    shares = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, peak, share = _mib(status, "VmRSS"), _mib(status, "VmHWM"), _mib(shares, "Pss")
    return Usage(rss, peak, share, (int(fields[11]) + int(fields[12])) / _TICK)


def total(pids: Iterable[int]) -> Usage:
    """The sum over the processes that still live."""
    found = []
    for pid in pids:
        try:
            found.append(usage(pid))
        except OSError:
            continue  # it has ended meanwhile
    return Usage(*(sum(getattr(each, name) for each in found) for name in ("rss", "peak", "share", "cpu")))


def begin_peak(pid: int) -> None:
    """Let the process's peak memory begin at what it holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text(_PEAK)


def commands(*words: str) -> list[int]:
    """The processes whose command line holds all of the words."""
    wanted = [os.fsencode(word) for word in words]
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # gone, or not ours to see
        if all(word in line for word in wanted):
            found.append(int(directory.name))
    return found


def _mib(text: str, name: str) -> float:
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
    return int(match[1]) / 1024 if match else 0.0
