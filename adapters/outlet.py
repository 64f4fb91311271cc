"""A file descriptor written by a thread of its own: a terminal that stands still stops nobody else."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from types import TracebackType

_PENDING = 64 * 1024
"""Bytes that may wait before a writer should."""
_CHUNK = 16 * 1024
_FAREWELL = 2.0
"""Seconds that the last bytes get at the end."""


class Gone(Exception):
    """The terminal or the pipe is closed: nobody reads any more."""


class Outlet:
    """What is written goes out in order; it is also the file that prompt_toolkit writes to."""

    encoding = "utf-8"

    def __init__(self, fd: int, *, in_place: bool = False) -> None:
        self._fd = fd
        self.in_place = in_place
        """Whether rows can be written anew: a terminal that knows how."""
        self._pending = bytearray()
        self._change = threading.Condition()
        self._ending = False
        self._gone = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._thread = threading.Thread(target=self._run, name=f"write to fd {fd}", daemon=True)

    async def __aenter__(self) -> Outlet:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._change:
            self._ending = True
            self._waiting.clear()
            self._change.notify()
        await asyncio.to_thread(self._thread.join, _FAREWELL)

    def write(self, text: str) -> int:
        """Take text to be written; never waits."""
        with self._change:
            if not self._gone:
                self._pending += text.encode(errors="replace")
                self._change.notify()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: what was taken is on its way."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)

    def columns(self) -> int:
        """The terminal's columns now; 0 where there is no terminal."""
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 0

    def rows(self) -> int:
        """The terminal's rows now; 0 where there is no terminal."""
        try:
            return os.get_terminal_size(self._fd).lines or 24
        except OSError:
            return 0

    async def drained(self) -> None:
        """Wait until little is left to write; raises Gone when nobody reads any more."""
        calm = asyncio.Event()
        with self._change:
            if len(self._pending) > _PENDING and not self._gone:
                self._waiting.append((asyncio.get_running_loop(), calm))
            else:
                calm.set()
        await calm.wait()
        if self._gone:
            raise Gone

    @property
    def behind(self) -> bool:
        """Whether so much waits that what can be left out should be."""
        return len(self._pending) > _PENDING

    def _run(self) -> None:
        while chunk := self._next():
            try:
                written = os.write(self._fd, chunk)
            except BlockingIOError:  # whoever shares the terminal made it non-blocking
                self._wait_writable()
                continue
            except OSError:
                written = 0
            self._done(written)

    def _next(self) -> bytes:
        with self._change:
            self._change.wait_for(lambda: self._pending or self._ending or self._gone)
            return bytes(self._pending[:_CHUNK]) if not self._gone else b""

    def _done(self, written: int) -> None:
        with self._change:
            self._gone = not written
            del self._pending[: written or None]
            if len(self._pending) > _PENDING:
                return
            for loop, calm in self._waiting:
                loop.call_soon_threadsafe(calm.set)
            self._waiting.clear()

    def _wait_writable(self) -> None:
        select.select([], [self._fd], [])
