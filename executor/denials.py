"""Refused connections as squid logs them: followed without polling, repeats told once with their number."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from executor.backend import Denial
from executor.errors import ExecutorError
from executor.runtime import write_whole

_CHUNK = 1 << 18
_LINE = 1 << 16
_ROTATE_BYTES = 4 << 20
_WINDOW = 5.0
"""Seconds in which repeats of a denial are counted instead of told."""
_HOSTS = 64
"""Different denials of one slot that are told in a window; a scan of more tells nothing new."""
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100


class Repeats:
    """Tells a denial at once, and what repeats it when the window is over, with its number."""

    def __init__(self) -> None:
        self._open: dict[Denial, tuple[float, int]] = {}

    def add(self, denial: Denial, now: float) -> bool:
        """Count a denial; whether to tell it now."""
        if denial in self._open:
            until, count = self._open[denial]
            self._open[denial] = (until, count + denial.count)
            return False
        of_slot = sum((known.project, known.slot) == (denial.project, denial.slot) for known in self._open)
        if of_slot >= _HOSTS:
            return False
        self._open[denial] = (now + _WINDOW, 0)
        return True

    def due(self, now: float) -> list[Denial]:
        """Close the windows that are over: their repeats."""
        over = [denial for denial, (until, _) in self._open.items() if until <= now]
        closed = [(denial, self._open.pop(denial)[1]) for denial in over]
        return [replace(denial, count=count) for denial, count in closed if count]

    def next(self) -> float | None:
        """When the next window is over."""
        return min((until for until, _ in self._open.values()), default=None)


@dataclass(slots=True)
class _Place:
    """How far the log was read, which outlives us so that what was refused meanwhile is told."""

    file: Path
    inode: int = 0
    offset: int = 0

    def load(self) -> None:
        with suppress(OSError, ValueError, TypeError):
            self.inode, self.offset = map(int, json.loads(self.file.read_text(encoding="utf-8")))

    def save(self) -> None:
        write_whole(self.file, json.dumps([self.inode, self.offset]), 0o600)


class _Log:
    """squid's access log across rotation and truncation."""

    def __init__(self, path: Path, place: _Place) -> None:
        self._path = path
        self._place = place
        self._fd = -1
        self._torn = b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def lines(self) -> list[bytes]:
        """The next whole lines; none at the end for now."""
        while True:
            if self._fd < 0 and not self._open():
                return []
            chunk = os.pread(self._fd, _CHUNK, self._place.offset + len(self._torn))
            if not chunk and not self._replaced():
                return []
            if whole := self._whole(chunk):
                return whole

    def _whole(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk; an endless one is passed over."""
        *whole, self._torn = (self._torn + chunk).split(b"\n")
        self._place.offset += sum(len(line) + 1 for line in whole)
        if len(self._torn) > _LINE:
            self._place.offset += len(self._torn)
            self._torn = b""
        return whole

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        status = os.fstat(self._fd)
        if status.st_ino != self._place.inode or status.st_size < self._place.offset:
            self._place.inode, self._place.offset = status.st_ino, 0
        return True

    def _replaced(self) -> bool:
        """Whether the file was cut or a new one took its name; then it is opened anew."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        if now.st_ino == self._place.inode and now.st_size >= self._place.offset:
            return False
        self.close()
        self._torn = b""
        return True


async def follow(
    path: Path, cursor: Path, read: Callable[[bytes], Denial | None], rotate: Callable[[], None]
) -> AsyncGenerator[Denial, None]:
    """Denials as `read` finds them in new lines, until cancelled; asks for a rotation where the log has grown long.

    Raises ExecutorError where the kernel has no watch left for us.
    """
    place = _Place(cursor)
    place.load()
    repeats, now = Repeats(), asyncio.get_running_loop().time
    with closing(_Log(path, place)) as log, closing(_Watch(path.parent)) as watch:
        asked = 0
        while True:
            while lines := log.lines():
                found = [d for line in lines if (d := read(line))]
                if found:
                    place.save()  # before they are told: one that a kill swallows is asked for again, a double is not
                for denial in found:
                    if repeats.add(denial, now()):
                        yield denial
                await asyncio.sleep(0)  # a flood of lines must not hold up everybody else
            if place.offset > _ROTATE_BYTES and asked != place.inode:
                asked = place.inode
                rotate()
            await watch.change(repeats.next())
            for denial in repeats.due(now()):
                yield denial


class _Watch:
    """The kernel's word that something in a directory was written, made or renamed."""

    def __init__(self, directory: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        library = ctypes.CDLL(None, use_errno=True)
        self._fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
        if self._fd < 0 or library.inotify_add_watch(self._fd, os.fsencode(directory), mask) < 0:
            reason = os.strerror(ctypes.get_errno())
            self.close()
            raise ExecutorError(f"squid's log cannot be watched ({reason}): raise fs.inotify.max_user_instances.")
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._fd, 65536):
                pass
        self._event.set()

    async def change(self, until: float | None) -> None:
        """Return at the next change, or at that time of the loop's clock."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._event.wait()
        self._event.clear()
