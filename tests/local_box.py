"""The real local backend with one box, as the tests of repositories use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from executor.backend import Box, Container, Process
from executor.local import LocalBackend


@dataclass
class LocalBox:
    """`exec` of the backend, counted; `workspace` and `guarded` are where the box's two sides lie on the machine."""

    backend: LocalBackend
    workspace: Path
    guarded: Path
    calls: int = 0
    """How many commands were run."""
    said: int = 0
    """Not counted here."""

    @asynccontextmanager
    async def exec(
        self, project: str, argv: Sequence[str], *, container: Container = Container.AGENT, cwd: str = ""
    ) -> AsyncIterator[Process]:
        self.calls += 1
        async with self.backend.exec(project, argv, container=container, cwd=cwd) as process:
            yield process

    async def sh(self, script: str, *args: str, cwd: str = "") -> str:
        """What a script in the sandbox says; the agent at work."""
        async with self.exec("demo", ["sh", "-euc", script, "sh", *args], cwd=cwd) as process:
            await process.close_stdin()
            out = b""
            while part := await process.read():
                out += part
            code = await process.wait()
            assert code == 0, process.stderr()
            return out.decode("utf-8", "replace")


@asynccontextmanager
async def local_box(root: Path) -> AsyncIterator[LocalBox]:
    """A started box of the project `demo`."""
    state = root / "state"
    async with LocalBackend(state, claude=Path("/bin/true"), model_url="http://127.0.0.1:9") as backend:
        await backend.start(Box("demo"))
        yield LocalBox(backend, state / "boxes/demo/workspace", state / "boxes/demo/git")
        await backend.delete("demo")
