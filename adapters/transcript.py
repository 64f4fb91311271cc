"""The console's threads, kept on disk: one append-only file of JSON lines for each."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from bot.model import Entry
from executor.events import decode, encode

_SUFFIX = ".jsonl"
_PAGE = 256 * 1024
"""Bytes read at once."""
_HEAD = 256
"""Longer than the start of any line up to its number."""
_REMEMBERED = 65_536
"""Jobs whose last number is kept in memory, over all threads."""
_NUMBERED = re.compile(rb'\n\{"job":"([^"\\]+)","seq":(\d+),')
_LINE = re.compile(rb'\{"job":"([^"\\]+)","seq":(\d+),"time":([-+.\w]+),"type":"(\w+)"(.*)\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines of a thread in order, and the byte where the next one starts."""

    entries: tuple[Entry, ...]
    end: int


@dataclass(frozen=True, slots=True)
class ThreadFile:
    """A thread there is: its name, its bytes and when it last grew."""

    name: str
    size: int
    changed: float


@dataclass(slots=True)
class _Index:
    """The last number of each job found so far; bytes before `unread` have not been looked at."""

    unread: int
    jobs: dict[str, int] = field(default_factory=dict)


class Growth:
    """The names of threads that have grown since last asked; it holds no content, so a slow reader costs nothing."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._any = asyncio.Event()

    def add(self, thread: str) -> None:
        """Say that a thread has grown."""
        self._names.add(thread)
        self._any.set()

    async def wait(self) -> set[str]:
        """The threads that have grown since the last call, once there is one."""
        await self._any.wait()
        return self.taken()

    def taken(self) -> set[str]:
        """The threads that have grown since the last call, if any."""
        names, self._names = self._names, set()
        self._any.clear()
        return names


class Transcript:
    """The console as a surface: what it shows is in these files, and read back from them.

    A line is written whole or not at all as far as a reader can see: what a crash left of one is cut off when the
    thread is next opened. Nothing is synced: a power cut may take the last lines, and then `shown` says so.
    """

    name = "console"

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._indexes: OrderedDict[str, _Index] = OrderedDict()
        self._readers: set[Growth] = set()

    async def open(self, title: str, channel: str = "") -> str:
        """A thread of that title, which is its name too."""
        self._index(title)
        return title

    async def show(self, thread: str, entries: Sequence[Entry]) -> None:
        """Append one job's events to the thread, all of them or none."""
        if not entries:
            return
        index = self._index(thread)
        _append(self._path(thread), b"".join(map(_encode, entries)))
        index.jobs[entries[-1].job] = entries[-1].seq
        for reader in self._readers:
            reader.add(thread)

    async def shown(self, thread: str, job: str) -> int:
        """The last number of the job in the thread's file, 0 for none."""
        index = self._index(thread)
        if job not in index.jobs and index.unread:
            found, unread = await asyncio.to_thread(_search, self._path(thread), job, index.unread)
            index.jobs = found | index.jobs  # what was appended meanwhile is later than what was found
            index.unread = min(unread, index.unread)
        return index.jobs.get(job, 0)

    def threads(self) -> list[ThreadFile]:
        """The threads there are, the one that grew last first."""
        found = []
        for entry in os.scandir(self.directory):
            if entry.name.endswith(_SUFFIX) and entry.name != _SUFFIX:
                stat = entry.stat()
                found.append(ThreadFile(unquote(entry.name[: -len(_SUFFIX)]), stat.st_size, stat.st_mtime))
        return sorted(found, key=lambda thread: (thread.changed, thread.name), reverse=True)

    def size(self, thread: str) -> int:
        """How many bytes the thread has."""
        try:
            return self._path(thread).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, thread: str, offset: int, types: frozenset[str] = frozenset()) -> Page:
        """The whole lines from that byte on, about 256 KiB of them; of these types only, if any is named."""
        try:
            with self._path(thread).open("rb") as file:
                file.seek(offset)
                data = file.read(_PAGE)
                while b"\n" not in data and (more := file.read(_PAGE)):
                    data += more
        except FileNotFoundError:
            return Page((), offset)
        whole = data[: data.rfind(b"\n") + 1]
        return Page(tuple(_decoded(whole, types)), offset + len(whole))

    def tail(self, thread: str, lines: int) -> Page:
        """The last lines of the thread, out of its last 256 KiB at most."""
        size = self.size(thread)
        start = max(0, size - _PAGE)
        page = self.read(thread, start)  # a line cut at its start is no line, and is passed over
        return Page(page.entries[-lines:], page.end)

    @contextmanager
    def growing(self) -> Iterator[Growth]:
        """Be told, while in here, which threads grow."""
        growth = Growth()
        self._readers.add(growth)
        try:
            yield growth
        finally:
            self._readers.discard(growth)

    def _path(self, thread: str) -> Path:
        return self.directory / (quote(thread, safe="") + _SUFFIX)

    def _index(self, thread: str) -> _Index:
        index = self._indexes.get(thread)
        if index is None:
            index = self._indexes[thread] = _Index(_mend(self._path(thread)))
            while len(self._indexes) > 1 and sum(1 + len(known.jobs) for known in self._indexes.values()) > _REMEMBERED:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(thread)
        return index


def _encode(entry: Entry) -> bytes:
    """The entry as one line; its head has a fixed order, so that it is found without parsing the rest."""
    head = f'{{"job":{json.dumps(entry.job)},"seq":{entry.seq},"time":{entry.time!r},"type":"{entry.event.type}"'
    fields = encode(entry.event)[1:-1]
    return f"{head}{',' if fields else ''}{fields}}}\n".encode(errors="replace")


def _decoded(data: bytes, types: frozenset[str]) -> Iterator[Entry]:
    for row in data.split(b"\n"):
        found = _LINE.fullmatch(row)
        if found is None:
            continue
        job, seq, time, kind, fields = found.groups()
        if types and kind.decode() not in types:
            continue
        try:
            event = decode(kind.decode(), "{" + fields[1:].decode() + "}")
        except (KeyError, TypeError, ValueError):  # a later version's type, or damage that is not ours
            continue
        yield Entry(job.decode(), int(seq), float(time), event)


def _append(path: Path, data: bytes) -> None:
    """Add the data to the file in one write; when that does not fit, cut off what did and raise OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(fd).st_size
        written = os.write(fd, data)
        if written < len(data):
            os.ftruncate(fd, before)
            raise OSError(f"{path}: {written} of {len(data)} bytes could be written")
    finally:
        os.close(fd)


def _mend(path: Path) -> int:
    """Cut off a last line without an end, and return the file's size."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = end = os.fstat(fd).st_size
        while end:
            start = max(0, end - _PAGE)
            newline = os.pread(fd, end - start, start).rfind(b"\n")
            end = start + newline + 1
            if newline >= 0:
                break
        if end < size:
            os.ftruncate(fd, end)
        return end
    finally:
        os.close(fd)


def _search(path: Path, job: str, end: int) -> tuple[dict[str, int], int]:
    """Read back from that byte until the job is found: the last numbers seen, and where reading stopped."""
    found: dict[str, int] = {}
    with path.open("rb") as file:
        while end and job not in found:
            start = max(0, end - 4 * _PAGE)
            file.seek(max(0, start - 1))
            # The line break before a line belongs to its match; the file's first line has none.
            data = (b"" if start else b"\n") + file.read(end - max(0, start - 1) + _HEAD)
            here = {
                match[1].decode(): int(match[2]) for match in _NUMBERED.finditer(data) if match.start() + start < end
            }
            found = here | found
            end = start
    return found, end
