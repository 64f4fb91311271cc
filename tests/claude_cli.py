"""The real Claude Code CLI as a plain process in an empty repository, spoken with as the product does."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from executor import claude
from executor.claude import Options
from executor.claude_asks import AskRequest
from executor.claude_result import TurnResult
from executor.claude_translate import Translator
from executor.events import Event, Notice, Text, ToolEnded

PATIENCE = 30


def program() -> str:
    """The pinned CLI, out of its package."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "_bundled/claude")


class Cli:
    """A running CLI: what it was told, and what its lines meant so far."""

    def __init__(self, process: asyncio.subprocess.Process, options: Options) -> None:
        self.process = process
        self.options = options
        self.translator = Translator()
        self.events: list[Event] = []
        self.asks: list[AskRequest] = []
        self.withdrawn: list[str] = []
        self.results: list[TurnResult] = []
        self.acks: list[tuple[str, str]] = []

    @property
    def text(self) -> str:
        """All that Claude said."""
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def notices(self) -> list[Notice]:
        """All notices."""
        return [event for event in self.events if isinstance(event, Notice)]

    @property
    def outputs(self) -> list[str]:
        """What the tools put out."""
        return [event.output for event in self.events if isinstance(event, ToolEnded)]

    async def tell(self, line: bytes) -> None:
        """Write a line to the CLI's stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        await self.process.stdin.drain()

    async def say(self, text: str) -> str:
        """Say something to Claude; the message's uuid."""
        name = str(uuid.uuid4())
        self.translator.expect(name)
        await self.tell(claude.user(text, name))
        return name

    async def answer(self, ask: AskRequest, answer: str) -> None:
        """Answer an ask of one question, as JSON."""
        line = claude.answer_line([(ask.request, answer)], mode=self.options.mode)
        assert line is not None
        await self.tell(line)

    async def until(self, reached: Callable[[Cli], object]) -> None:
        """Read until something is so; fails when the CLI ends before."""
        async with asyncio.timeout(PATIENCE):
            while not reached(self):
                assert await self._read(), f"the CLI ended: {self.events[-3:]} {self.results}"

    async def idle(self) -> None:
        """Read until all that was said is done."""
        await self.until(lambda cli: cli.translator.idle)

    async def asked(self) -> AskRequest:
        """Read until there is an ask, and take it."""
        await self.until(lambda cli: cli.asks)
        return self.asks.pop(0)

    async def end(self) -> int:
        """Close stdin and read on until the CLI ends; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            while await self._read():
                pass
            return await self.process.wait()

    async def _read(self) -> bool:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        found = self.translator.feed(line)
        self.translator = Translator(self.translator.state())
        self.events += found.events
        self.asks += found.asks
        self.withdrawn += found.withdrawn
        self.acks += [(ack.uuid, ack.state.value) for ack in found.acks]
        self.results += [found.result] if found.result else []
        return line != b""


@asynccontextmanager
async def running(url: str, home: Path, options: Options | None = None, **environment: str) -> AsyncIterator[Cli]:
    """Run the CLI against a model API, with `home` for its configuration and a repository in it."""
    repository = home / "repo"
    if not repository.exists():
        subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)  # noqa: ASYNC221 - takes 5 ms
    options = replace(options or Options(str(uuid.uuid4())), program=program())
    set_up = {
        **claude.environment(model_url=url, proxy_url="http://127.0.0.1:9"),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(home),
        **environment,
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *claude.argv(options), cwd=repository, env=set_up, stdin=pipe, stdout=pipe, stderr=None, limit=1 << 26
    )
    try:
        yield Cli(process, options)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
