"""Jobs that outlive every connection to them: boxrun's words, spoken over a backend's exec."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from executor.backend import Backend, Container, Process
from executor.errors import CommandFailed, InputClosed, JobUnknown
from executor.frames import Beat, Chunk, Exited, ExitRecord, Frame, FrameParser, Lost, Unknown, exit_record

__all__ = [
    "Beat",
    "Boxrun",
    "Chunk",
    "ExitRecord",
    "Exited",
    "Followed",
    "Frame",
    "JobStatus",
    "Lost",
    "Spec",
    "Unknown",
]

_READ = 1 << 18
_ANSWER = 64 << 20
"""Bytes of an answer, at most; `list` is the longest."""
_SILENCE = 60.0
"""Seconds without a frame after which the stream is given up; boxrun sends a beat every 15."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What a job runs."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    input: Literal["jsonl", "none"] = "none"
    stderr: Literal["journal", "file"] = "journal"
    slot: int = 0
    """The network slot in the box; 0 for no network, where the box is a sandbox."""
    address: str = ""
    """The address the job's connections come from; empty for the slot's own."""
    seconds: float = 0
    """How long it may run; 0 for as long as it likes."""
    journal_bytes: int = 0
    """How much it may print; 0 for no limit."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job of a box, as boxrun lists it."""

    job: str
    state: Literal["running", "exited", "lost"]
    size: int
    record: ExitRecord | None = None


class Followed:
    """One stream of the journals of many jobs; iterate it to read, and not twice."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def add(self, job: str, offset: int = 0) -> None:
        """Follow one more job from a byte offset on."""
        await self._request({"follow": job, "offset": offset})

    async def remove(self, job: str) -> None:
        """Follow a job no more; what is under way still comes."""
        await self._request({"unfollow": job})

    async def _request(self, request: Mapping[str, object]) -> None:
        await self._process.write(json.dumps(request).encode() + b"\n")

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """The frames as they come; raises CommandFailed when the stream breaks or falls silent."""
        parser = FrameParser()
        while data := await self._read():
            try:
                for frame in parser.feed(data):
                    yield frame
            except ValueError as e:
                raise CommandFailed("boxrun follow", 1, str(e)) from e
        code = await self._process.wait()
        raise CommandFailed("boxrun follow", code, self._process.stderr() or "the stream ended")

    async def _read(self) -> bytes:
        try:
            async with asyncio.timeout(_SILENCE):
                return await self._process.read(_READ)
        except TimeoutError as e:
            raise CommandFailed("boxrun follow", 1, f"silent for {_SILENCE:g} s") from e


class Boxrun:
    """The boxrun of one project's box."""

    def __init__(self, backend: Backend, project: str) -> None:
        self._backend = backend
        self._project = project

    async def start(self, job: str, spec: Spec) -> bool:
        """Start a job; False when it is known already, or could not be started: follow it to learn which."""
        request = {
            "argv": list(spec.argv),
            "env": dict(spec.env),
            "cwd": spec.cwd,
            "input": spec.input,
            "stderr": spec.stderr,
            "slot": spec.slot,
            "address": spec.address,
            "limits": {"seconds": spec.seconds, "journal_bytes": spec.journal_bytes},
        }
        data = json.dumps(request).encode()
        answer = await self._ask("start", job, "--length", str(len(data)), data=data)
        return bool(answer["started"])

    async def send(self, job: str, line: bytes) -> None:
        """Hand the job one whole line, a JSON object.

        Raises InputClosed when it takes no more, JobUnknown, or CommandFailed when the line is not one.
        """
        await self._ask("send", job, "--length", str(len(line)), data=line)

    async def eof(self, job: str) -> None:
        """End the job's input after what was sent; raises JobUnknown."""
        await self._ask("eof", job)

    async def stop(self, job: str, interrupt: bytes | None = None, grace: float = 1.0) -> ExitRecord | None:
        """Stop a job and return when nothing of it lives: its record, or None for a lost job; raises JobUnknown.

        `interrupt` is a line for its input instead of SIGINT; SIGTERM follows after `grace` seconds, SIGKILL after two.
        """
        line = interrupt or b""
        answer = await self._ask("stop", job, "--interrupt-length", str(len(line)), "--grace", f"{grace:g}", data=line)
        return None if answer.get("lost") else exit_record(answer)

    async def list(self) -> Sequence[JobStatus]:
        """Every job there is."""
        return [
            JobStatus(job["job"], job["state"], job["size"], exit_record(job["exit"]) if job["exit"] else None)
            for job in await self._answers("list")
        ]

    async def gc(self, jobs: Iterable[str]) -> Sequence[str]:
        """Remove what is kept of ended and lost jobs; those that were removed."""
        names = list(jobs)
        answers = await self._answers("gc", *names) if names else []
        return [answer["job"] for answer in answers if answer.get("removed")]

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[Followed]:
        """A stream of journals, cut when the context is left."""
        argv = ["follow"]
        async with self._backend.exec(self._project, argv, container=Container.BOXRUN) as process:
            yield Followed(process)

    async def _ask(self, *argv: str, data: bytes = b"") -> dict[str, Any]:
        answers = await self._answers(*argv, data=data)
        if len(answers) != 1:
            raise CommandFailed(f"boxrun {argv[0]}", 1, f"{len(answers)} answers instead of one")
        return answers[0]

    async def _answers(self, *argv: str, data: bytes = b"") -> Sequence[dict[str, Any]]:
        what = f"boxrun {argv[0]}"
        async with self._backend.exec(self._project, argv, container=Container.BOXRUN) as process:
            try:
                if data:
                    await process.write(data)
                await process.close_stdin()
            except OSError:
                pass  # it refused before it read; its answer says why
            output = bytearray()
            while piece := await process.read(_READ):
                output += piece
                if len(output) > _ANSWER:
                    raise CommandFailed(what, 1, "an answer without an end")
            code = await process.wait()
            stderr = process.stderr()
        try:
            answers: Sequence[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
        except ValueError as e:
            raise CommandFailed(what, code, stderr or output[-500:].decode(errors="replace")) from e
        if code:
            raise _failure(what, code, answers[-1].get("error", stderr) if answers else stderr)
        return answers


def _failure(what: str, code: int, error: str) -> Exception:
    match error:
        case "unknown":
            return JobUnknown(what)
        case "closed":
            return InputClosed(what)
        case _:
            return CommandFailed(what, code, error)
