"""The bench's end of the process that serves."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from place import Place

_SERVE = Path(__file__).with_name("serve.py")
_ENDING = 20.0
"""Seconds that the service has to end by itself."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the service answered to a message, and when it was asked."""

    text: str
    thread: str
    job: str
    at: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What the surface shows of a job: see recorder.Shown."""

    first: dict[str, float]
    last: float
    size: int
    state: str


class Served:
    """A running service."""

    def __init__(self, process: asyncio.subprocess.Process, began: float) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self.began = began
        """When its process was started."""
        self.ready = 0.0
        """When it could take its first message."""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def say(self, text: str, thread: str = "") -> Said:
        """Write a message as a person does; raises RuntimeError when the answer is a mistake."""
        answer = await self._ask(do="say", text=text, thread=thread)
        if answer["error"]:
            raise RuntimeError(f"{text.splitlines()[0][:60]}: {answer['text']}")
        return Said(answer["text"], answer["thread"], answer["job"], answer["at"])

    async def until(self, job: str, kind: str) -> Shown:
        """What is shown of the job once an event of that type is among it."""
        answer = await self._ask(do="until", job=job, kind=kind)
        return Shown(answer["first"], answer["last"], answer["size"], answer["state"])

    async def succeeded(self, said: Said) -> Shown:
        """What is shown of a job once its end is; raises RuntimeError when it failed."""
        shown = await self.until(said.job, "complete")
        if shown.state != "succeeded":
            raise RuntimeError(f"a job {shown.state}")
        return shown

    async def lags(self) -> list[float]:
        """The lags of the clocks shown since this was last asked, in seconds."""
        lags: list[float] = (await self._ask(do="lags"))["lags"]
        return lags

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        await self._process.wait()

    async def _ask(self, **request: Any) -> dict[str, Any]:
        self._count += 1
        number = self._count
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
        await self._process.stdin.drain()
        return await answer

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError("the service ended by itself")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def listen(self) -> None:
        """Hand answers to whoever asked, until the service ends."""
        try:
            while True:
                answer = await self._line()
                self._answers.pop(answer["id"]).set_result(answer)
        except EOFError as error:
            for waiting in self._answers.values():
                waiting.set_exception(error)

    async def wait_ready(self) -> None:
        """Wait until it can take messages."""
        self.ready = (await self._line())["ready"]

    async def end(self) -> None:
        """Let it end; raises RuntimeError when it had to be killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
        except TimeoutError as error:
            await self.kill()
            raise RuntimeError(f"the service did not end within {_ENDING:g} s") from error


@asynccontextmanager
async def served(place: Place) -> AsyncIterator[Served]:
    """A service in its own process."""
    pipe = asyncio.subprocess.PIPE
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_SERVE), str(place.file), stdin=pipe, stdout=pipe, limit=1 << 26, start_new_session=True
    )
    service = Served(process, began)
    try:
        await service.wait_ready()
        listening = asyncio.create_task(service.listen(), name="answers")
        try:
            yield service
        finally:
            await service.end()
            await listening
    finally:
        if process.returncode is None:
            await service.kill()
