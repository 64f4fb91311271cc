"""A backend for tests of what needs only exec: bubblewrap around a directory, and a directory outside it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from executor.backend import Container


class RunningCommand:
    def __init__(self, process: asyncio.subprocess.Process, stderr: asyncio.Task[bytes]) -> None:
        self._process = process
        self._stderr = stderr
        self.said = 0

    async def write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()

    async def read(self, limit: int = 65536) -> bytes:
        assert self._process.stdout
        part = await self._process.stdout.read(limit)
        self.said += len(part)
        return part

    async def wait(self) -> int:
        code = await self._process.wait()
        await self._stderr
        return code if code >= 0 else 128 - code

    def stderr(self) -> str:
        return self._stderr.result().decode("utf-8", "replace")[-16384:] if self._stderr.done() else ""


@dataclass
class BareBackend:
    """Only `exec`; `workspace` is /workspace in the sandbox, `guarded` the directory of the git side."""

    workspace: Path
    guarded: Path
    git_environment: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    """How many commands were run."""
    said: int = 0
    """Bytes that commands wrote to stdout."""

    def _agent(self, cwd: str) -> list[str]:
        return [
            "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
            "--uid", "1000", "--gid", "1000", "--setenv", "TERM", "dumb",
            "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/home/agent",
            "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
            "--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
            "--dir", "/home/agent", "--bind", str(self.workspace), "/workspace", "--chdir", cwd or "/workspace", "--",
        ]  # fmt: skip

    @asynccontextmanager
    async def exec(
        self, project: str, argv: Sequence[str], *, container: Container = Container.AGENT, cwd: str = ""
    ) -> AsyncIterator[RunningCommand]:
        self.calls += 1
        agent = container is Container.AGENT
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(self._agent(cwd) if agent else []),
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            cwd=None if agent else self.guarded,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.guarded)} | ({} if agent else self.git_environment),
        )
        assert process.stderr
        reading = asyncio.create_task(process.stderr.read())
        try:
            yield (command := RunningCommand(process, reading))
            self.said += command.said
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            assert process.stdout
            # wait() also waits for the pipes, and a full one is not read by itself.
            while await process.stdout.read(1 << 20):
                pass
            await process.wait()
            reading.cancel()

    async def sh(self, script: str, *args: str, cwd: str = "") -> str:
        """What a script in the sandbox says; the agent at work."""
        async with self.exec("p", ["sh", "-euc", script, "sh", *args], cwd=cwd) as process:
            await process.close_stdin()
            out = b""
            while part := await process.read():
                out += part
            code = await process.wait()
            assert code == 0, process.stderr()
            return out.decode("utf-8", "replace")
