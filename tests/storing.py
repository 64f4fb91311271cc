"""Nouns with plain values, and a store that holds some of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.model import Ask, AskKind, AskState, AuditEntry, Job, JobKind, JobState, Session, replace
from bot.store import Store

ACT = AuditEntry("shell", "local:1000", "p", prompt="ls")


class Clock:
    """A clock that stands at `now`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def session(session_id: str = "s1", **changes: Any) -> Session:
    return replace(Session(session_id, "p", f"name-{session_id}", "uuid", "local:1000", 1.0), **changes)


def job(job_id: str = "j1", **changes: Any) -> Job:
    made = Job(
        job_id, "s1", "p", JobKind.CLAUDE, JobState.QUEUED, "local:1000", "console", "t1", "fix the bug", created=1.0
    )
    return replace(made, **changes)


def ask(ask_id: str = "a1", **changes: Any) -> Ask:
    made = Ask(ask_id, "j1", "p", "s1", AskKind.PERMISSION, '{"tool": "Bash"}', AskState.OPEN, created=1.0, expires=0.0)
    return replace(made, **changes)


@asynccontextmanager
async def store_with_job(path: Path, clock: Callable[[], float] | None = None) -> AsyncIterator[Store]:
    """A store in that directory with session `s1`, bound to `console` `t1`, and in it the queued job `j1`."""
    async with Store.open(path / "rdev.db", clock=clock or Clock(), patience=0.2) as store:
        if await store.session("s1") is None:
            await store.add_session(session(), ACT)
            await store.bind("console", "t1", "s1")
            await store.add_job(job(), [], ACT)
        yield store
