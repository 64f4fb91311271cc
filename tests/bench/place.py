"""A directory with all a service needs: a remote, a configuration, sessions; removed with all that runs in it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.claude_cli import executable
from bot.config import Config, load
from bot.model import AuditEntry, Session
from bot.store import Store
from executor.local import LocalBackend

PROJECT = "demo"
NOWHERE = "http://127.0.0.1:9"
ACTOR = f"local:{os.getuid()}"
MOST_JOBS = 254
"""Jobs that a project may run at once; a slot of the network is one number of an address."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one service runs, again and again."""

    directory: Path

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.directory / "rdev.toml"

    @property
    def config(self) -> Config:
        """The configuration."""
        return load(self.file, {})

    @property
    def box(self) -> Path:
        """The project's box, which is boxrun's directory."""
        return self.config.state_dir / "boxes" / PROJECT

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LocalBackend]:
        """The backend without a service: what a baseline runs in, once a service has made the box."""
        config = self.config
        async with LocalBackend(
            config.state_dir,
            claude=executable(config.claude),
            model_url=config.model.url,
            model_key=config.model.secret,
        ) as backend:
            yield backend

    async def add_sessions(self, count: int) -> list[str]:
        """Make so many sessions, each with a thread; the threads."""
        names = [f"s{number:03}" for number in range(1, count + 1)]
        threads = [f"{PROJECT}/{name}" for name in names]
        self.config.state_dir.mkdir(mode=0o700, exist_ok=True)
        async with Store.open(self.config.state_dir / "rdev.db") as store:
            for name, thread in zip(names, threads, strict=True):
                session = Session(f"id-{name}", PROJECT, name, str(uuid.uuid4()), ACTOR, 0.0)
                await store.add_session(session, AuditEntry("session", ACTOR, PROJECT, session.id))
                await store.bind("console", thread, session.id)
        return threads


@asynccontextmanager
async def place(model: str = NOWHERE, key: str = "") -> AsyncIterator[Place]:
    """A new place; when it is left, the box with all its jobs, squid and the directory are gone."""
    with tempfile.TemporaryDirectory(prefix="rdev-bench-", ignore_cleanup_errors=True) as name:
        here = Place(Path(name))
        _make_remote(here.directory)
        _configure(here, model, key or secrets.token_hex(16))
        try:
            yield here
        finally:
            async with here.backend() as backend:
                await backend.delete(PROJECT)


def git(*args: str, cwd: Path) -> None:
    """Run git without the machine's configuration."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", *args]
    subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True)


def _make_remote(directory: Path) -> None:
    work = directory / "seed"
    work.mkdir()
    (work / "README.md").write_text("A project.\n")
    git("init", "-q", "-b", "main", cwd=work)
    git("add", ".", cwd=work)
    git("commit", "-qm", "A project", cwd=work)
    git("clone", "-q", "--bare", str(work), str(directory / "remote.git"), cwd=directory)


def _configure(here: Place, model: str, key: str) -> None:
    secret = here.directory / "key"
    secret.touch(mode=0o600)
    secret.write_text(key)
    lines = (
        f"state_dir = {json.dumps(str(here.directory / 'state'))}",
        "[model]",
        f"url = {json.dumps(model)}",
        f"key = {{ file = {json.dumps(str(secret))} }}",
        "[limits]",
        f"jobs = {MOST_JOBS}",
        f"jobs_per_project = {MOST_JOBS}",
        "queue = 1000",
        f"[projects.{PROJECT}]",
        f"url = {json.dumps(str(here.directory / 'remote.git'))}",
        'push = "never"',
        f"[projects.{PROJECT}.rights]",
        f"admin = [{json.dumps(ACTOR)}]",
    )
    here.file.write_text("\n".join(lines) + "\n")
