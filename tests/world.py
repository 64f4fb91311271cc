"""A whole rdev for a test: a bare remote, a scripted model, the real backend, and the console's transcript."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from adapters.transcript import Transcript
from bot.__main__ import serving
from bot.config import parse
from bot.model import Entry
from bot.script import load
from bot.scripted_model import ScriptedModel
from bot.service import Message, Reply, Service
from executor.events import AskRaised, Completed, Event, Output, Text

ME = "local:0"
KEY = "planted-model-key-5Tn2wVbX9q"
T = TypeVar("T", bound=Event)


@dataclass
class World:
    """The service under test, and what its surface shows."""

    directory: Path
    service: Service
    transcript: Transcript
    model: ScriptedModel
    actor: str = ME
    replies: list[Reply] = field(default_factory=list)

    @property
    def remote(self) -> Path:
        return self.directory / "remote.git"

    async def say(self, text: str, thread: str = "", *, actor: str = "", again: str = "") -> Reply:
        """Write a message as a person does; `again` is the id of one that may come twice."""
        message = Message(again or secrets.token_hex(8), "console", thread, actor or self.actor, text)
        return await self.service.handle(message)

    def entries(self, thread: str) -> list[Entry]:
        """Everything the thread shows."""
        found: list[Entry] = []
        end = 0
        while True:
            page = self.transcript.read(thread, end)
            found += page.entries
            if page.end == end:
                return found
            end = page.end

    def events(self, reply: Reply) -> list[Event]:
        """What the thread shows of the reply's job."""
        return [entry.event for entry in self.entries(reply.thread) if entry.job == reply.job]

    async def until(self, reply: Reply, kind: type[T], *, count: int = 1, timeout: float = 30) -> T:
        """Wait until the thread shows the job's n-th event of a kind."""
        async with asyncio.timeout(timeout):
            with self.transcript.growing() as growth:
                while True:
                    found = [event for event in self.events(reply) if isinstance(event, kind)]
                    if len(found) >= count:
                        return found[count - 1]
                    await growth.wait()

    async def done(self, reply: Reply, *, timeout: float = 60) -> Completed:
        """Wait until the thread shows the job's end."""
        assert not reply.error, reply.text
        return await self.until(reply, Completed, timeout=timeout)

    async def asked(self, reply: Reply, *, count: int = 1) -> AskRaised:
        """Wait until the thread shows the job's n-th ask."""
        return await self.until(reply, AskRaised, count=count)

    def git(self, *args: str) -> str:
        """git in the remote."""
        return git(*args, cwd=self.remote)


def git(*args: str, cwd: Path) -> str:
    """Run git without the machine's configuration."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main", *args]
    return subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


def make_remote(directory: Path, files: Mapping[str, str] | None = None) -> Path:
    """A bare repository with one commit on main."""
    work = directory / "seed"
    work.mkdir()
    for name, text in (files or {"README.md": "hello\n"}).items():
        (work / name).write_text(text)
    git("init", "-q", cwd=work)
    git("add", ".", cwd=work)
    git("commit", "-qm", "seed", cwd=work)
    git("clone", "-q", "--bare", str(work), str(directory / "remote.git"), cwd=directory)
    return directory / "remote.git"


def settings(directory: Path, model: str, **project: Any) -> dict[str, Any]:
    """The configuration of a world, as its TOML file would read."""
    rights = {"admin": [ME], "view": ["local:viewer"], "run": ["local:runner"], "approve": ["local:approver"]}
    return {
        "state_dir": str(directory / "state"),
        "model": {"url": model, "key": {"env": "MODEL_KEY"}},
        "backend": {"private_networks": ["127.0.0.0/8"], "hosts": {"new.example.org": "127.0.0.1"}},
        "projects": {
            "demo": {"url": str(directory / "remote.git"), "push": "auto", "rights": rights, **project},
        },
    }


@asynccontextmanager
async def world(
    directory: Path,
    script: Mapping[str, Sequence[Any]] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    sections: Mapping[str, Any] | None = None,
    model_port: int = 0,
    **project: Any,
) -> AsyncIterator[World]:
    """A running service in a directory; entered again in the same directory it is the service after a restart."""
    if not (directory / "remote.git").exists():
        make_remote(directory, files)
    async with ScriptedModel(load(json.dumps(script or {})), port=model_port, key=KEY) as model:
        data = {**settings(directory, model.url, **project), **(sections or {})}
        config = parse(data, directory / "rdev.toml", {"MODEL_KEY": KEY})
        transcript = Transcript(directory / "console")
        async with serving(config, [transcript]) as service:
            yield World(directory, service, transcript, model)


def text_of(events: Iterable[Event]) -> str:
    """Claude's words and commands' output in the events."""
    return "".join(event.text for event in events if isinstance(event, Text | Output))
