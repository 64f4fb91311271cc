"""Boxes for tests: the local backend with names that lead to servers on loopback, and jobs run to their end."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.backend import Box, Container, Denial
from executor.durable import Boxrun, Chunk, Exited, ExitRecord, Lost, Spec
from executor.local import LocalBackend

KEY = "sk-test-5f1c0a7e-this-must-not-be-seen"
HOSTS = {
    "allowed.example.org": "127.0.0.1",
    "other.example.org": "127.0.0.1",
    "inside.example.org": "10.1.2.3",
    "metadata.example.org": "169.254.169.254",
}


class Key:
    """A secret as pydantic's SecretStr is one."""

    def get_secret_value(self) -> str:
        """The key."""
        return KEY


@dataclass
class Upstream:
    """A server on loopback that remembers what it was sent and answers a page, or pieces with pauses between."""

    port: int = 0
    received: list[bytes] = field(default_factory=list)
    pieces: tuple[bytes, ...] = (b"hello from upstream",)
    pause: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request head, then the answer."""
        head = await reader.read(65536)
        self.received.append(head)
        size = sum(map(len, self.pieces))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
        try:
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(self.pause)
        except OSError:
            pass  # the client has gone, as it may
        finally:
            writer.close()


@asynccontextmanager
async def upstream(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **how: Any) -> AsyncIterator[Upstream]:
    """A running upstream."""
    server = Upstream(**how)
    listening = await asyncio.start_server(server.serve, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


def backend(state_dir: Path, **more: Any) -> LocalBackend:
    """A backend whose names lead to loopback, and whose Claude is no Claude."""
    settings: dict[str, Any] = {
        "claude": Path("/bin/true").resolve(),
        "model_url": "http://127.0.0.1:9",
        "model_key": Key(),
        "private_networks": ("127.0.0.0/8",),
        "hosts": HOSTS,
    }
    return LocalBackend(state_dir, **{**settings, **more})


@dataclass(frozen=True)
class Outcome:
    """What a job printed and how it ended."""

    output: str
    record: ExitRecord

    @property
    def lines(self) -> list[str]:
        """The output's lines."""
        return self.output.splitlines()


async def run(
    boxes: LocalBackend, project: str, argv: Sequence[str], *, slot: int = 7, env: Mapping[str, str] | None = None
) -> Outcome:
    """Run a job of a box to its end."""
    boxrun, job = Boxrun(boxes, project), f"job-{secrets.token_hex(4)}"
    await boxrun.start(job, Spec(list(argv), env or {}, "/workspace", slot=slot, seconds=60))
    outcome = await ended(boxes, project, job)
    await boxrun.gc([job])
    return outcome


async def ended(boxes: LocalBackend, project: str, job: str) -> Outcome:
    """Wait for a job's end."""
    data = b""
    async with asyncio.timeout(60), Boxrun(boxes, project).follow() as followed:
        await followed.add(job)
        async for frame in followed:
            match frame:
                case Chunk():
                    data += frame.data
                case Exited():
                    return Outcome(data.decode("utf-8", "replace"), frame.record)
                case Lost():
                    break
    raise AssertionError(f"{job} was lost: {data!r}")


async def said(
    boxes: LocalBackend, project: str, argv: Sequence[str], container: Container = Container.AGENT, data: bytes = b""
) -> tuple[int, str]:
    """A short command's exit code and output."""
    async with boxes.exec(project, argv, container=container) as process:
        with suppress(BrokenPipeError):  # it may have ended without a look at its input
            await process.write(data)
        await process.close_stdin()
        found = b""
        while part := await process.read():
            found += part
        return await process.wait(), found.decode("utf-8", "replace")


async def first_denials(boxes: LocalBackend, count: int) -> list[Denial]:
    """The next denials."""
    found: list[Denial] = []
    async with asyncio.timeout(20):
        async for denial in boxes.denials():
            found.append(denial)
            if len(found) == count:
                break
    return found


def box(project: str = "demo", *domains: str, **more: Any) -> Box:
    """A box without limits."""
    return Box(project, domains, **more)
