"""One stream for all running jobs of a box, opened again from where it was whenever it is cut."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from executor.durable import Boxrun, Followed
from executor.errors import ExecutorError
from executor.frames import Beat, Chunk, Exited, Lost, Unknown

log = logging.getLogger(__name__)

_WAITING = 4
"""Chunks that may wait for a job's task; then its box's stream waits too, and so does boxrun."""
_BACKOFF = (0.05, 0.2, 1, 5)
"""Seconds before the stream is opened again; the last one repeats."""

Frame = Chunk | Exited | Lost | Unknown


class Inbox:
    """What the stream brought of one job and its task has not taken yet."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        """Where the journal goes on after what is in the inbox."""
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(_WAITING)
        self._left = False

    async def put(self, frame: Frame) -> None:
        """Add a frame, waiting while the inbox is full."""
        if isinstance(frame, Chunk):
            self.offset = frame.offset + len(frame.data)
        if not self._left:
            await self._frames.put(frame)

    async def take(self) -> list[Frame]:
        """Everything that is there, at least one frame."""
        frames = [await self._frames.get()]
        while not self._frames.empty():
            frames.append(self._frames.get_nowait())
        return frames

    def leave(self) -> None:
        """Take nothing more; who waits to put a frame waits no longer, for the box's other jobs wait behind it."""
        self._left = True
        while not self._frames.empty():
            self._frames.get_nowait()


class Stream:
    """Follows the jobs of one box; runs while somebody follows one."""

    def __init__(self, boxrun: Boxrun, project: str) -> None:
        self._boxrun = boxrun
        self._project = project
        self._inboxes: dict[str, Inbox] = {}
        self._task: asyncio.Task[None] | None = None
        self._followed: Followed | None = None

    @asynccontextmanager
    async def follow(self, job: str, offset: int) -> AsyncIterator[Inbox]:
        """The job's journal from a byte offset on, until the context is left."""
        inbox = self._inboxes[job] = Inbox(offset)
        try:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name=f"stream of {self._project}")
            elif self._followed is not None:
                await self._add(self._followed, job, offset)
            yield inbox
        finally:
            inbox.leave()
            del self._inboxes[job]
            if not self._inboxes and self._task is not None:
                self._task.cancel()
                self._task = self._followed = None

    async def _run(self) -> None:
        attempt = 0
        while self._inboxes:
            try:
                async with self._boxrun.follow() as followed:
                    known = list(self._inboxes.items())
                    # From here on a new job adds itself: it cannot be in the list above.
                    self._followed = followed
                    try:
                        for job, inbox in known:
                            await followed.add(job, inbox.offset)
                        async for frame in followed:
                            attempt = 0
                            await self._dispatch(frame)
                    finally:
                        # A stream that is let go takes its time to end: the next one's must not be forgotten then.
                        if self._followed is followed:
                            self._followed = None
            except (ExecutorError, OSError) as error:
                log.warning("the stream of %s was cut: %s", self._project, error)
            except Exception:  # every job of the box waits for this stream: whatever broke, it is opened again
                log.exception("the stream of %s broke", self._project)
            await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
            attempt += 1

    async def _add(self, followed: Followed, job: str, offset: int) -> None:
        try:
            await followed.add(job, offset)
        except (ExecutorError, OSError) as error:
            # The stream is being cut; opening it again follows every inbox there is.
            log.warning("could not follow %s yet: %s", job, error)

    async def _dispatch(self, frame: Frame | Beat) -> None:
        if isinstance(frame, Beat):
            return
        inbox = self._inboxes.get(frame.job)
        if inbox is None:
            return
        if isinstance(frame, Chunk) and frame.offset != inbox.offset:
            return  # a second follow of the same job; the first one brings these bytes
        await inbox.put(frame)
