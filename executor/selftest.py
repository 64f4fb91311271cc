"""The proof, before a box's first job, that squid is its only way out: someone inside tries the others."""

from __future__ import annotations

import asyncio
import secrets
from importlib.resources import files

from executor import squid
from executor.backend import Backend
from executor.durable import Boxrun, Chunk, Exited, Spec
from executor.errors import BoxFailed, CommandFailed

_SECONDS = 30


async def prove(backend: Backend, project: str, ports: tuple[int, ...]) -> None:
    """Run the self-test as a job of its own; raises BoxFailed with what it found open, or why it could not run."""
    boxrun, job = Boxrun(backend, project), f"self-test-{secrets.token_hex(4)}"
    script = files("claudebox").joinpath("squid/selftest.sh").read_text(encoding="utf-8")
    argv = ["bash", "-c", script, "selftest.sh", *map(str, ports)]
    spec = Spec(argv, cwd="/", slot=squid.SELF_TEST_SLOT, seconds=_SECONDS, journal_bytes=1 << 16)
    try:
        async with asyncio.timeout(_SECONDS + 10):
            await boxrun.start(job, spec)
            found = await _said(boxrun, job)
            await boxrun.gc([job])
    except (CommandFailed, TimeoutError) as e:
        raise BoxFailed(f"The sandbox could not be tried: {e or 'no answer in time'}") from e
    *ways, last = found.strip().split("\n")
    if last != "done":
        raise BoxFailed(f"The sandbox does not run: {found.strip()[-1000:] or 'it said nothing'}")
    if ways:
        raise BoxFailed(f"The sandbox is not tight, so nothing runs in it: {'; '.join(ways)}.")


async def _said(boxrun: Boxrun, job: str) -> str:
    """What the job printed, or why it could not."""
    said = b""
    async with boxrun.follow() as followed:
        await followed.add(job, 0)
        async for frame in followed:
            match frame:
                case Chunk():
                    said += frame.data
                case Exited():
                    return said.decode("utf-8", "replace") or frame.record.message
                case _:
                    pass
    return ""
