"""Processes by their number: known again after our own death, waited for without polling."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def start_time(pid: int) -> str:
    """When the process started, in the kernel's own ticks; empty when it is gone or only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def opened(pid: int, born: str) -> int:
    """A pidfd of that process, or -1 when it is gone and its number perhaps another's."""
    try:
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return -1
    if born and start_time(pid) == born:
        return fd
    os.close(fd)
    return -1


def bury(pid: int) -> None:
    """Take a dead child's exit status; another's child is not ours to bury."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def kill(pid: int, born: str) -> None:
    """Kill the process and return when it is gone; gone already is as good."""
    if (fd := opened(pid, born)) < 0:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        await readable(fd)
    finally:
        os.close(fd)
    bury(pid)


async def readable(fd: int) -> None:
    """Wait until a descriptor is readable; a pidfd is when its process has ended."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


def with_words(*words: str) -> Iterator[int]:
    """Processes whose command line has these words, one after the other."""
    mark = b"\0" + b"\0".join(word.encode() for word in words) + b"\0"
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
