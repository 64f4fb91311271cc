"""What boxrun runs for a job, and what the journal's end means: pure decisions of the runner."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import dataclass
from typing import Literal

from bot.config import Claude, Project
from bot.errors import UserError
from bot.model import Job, JobKind, JobState, Session
from executor import claude
from executor.claude_result import TurnResult
from executor.durable import ExitRecord, Spec
from executor.git import GitCommand, identity, plan
from executor.worktree_shell import WORKTREES

Auth = Literal["api-key", "oauth"]
_NAMESPACE = uuid.UUID("5b0f6a5e-6a0e-4d3c-9a37-2f6f1c1f8a10")
"""Makes message ids from job ids, so that a message sent again after a crash has the id it had before."""

LOST = "its runner died (a restart of the machine, or out of memory); the files are kept, /rdev resume goes on"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, as people are told."""

    state: JobState
    exit_code: int
    reason: str = ""


def message_id(job: str, number: int) -> str:
    """The id of a job's n-th message to Claude; 0 is the prompt, else the FollowUp event's seq."""
    return str(uuid.uuid5(_NAMESPACE, f"{job}/{number}"))


def spec(job: Job, session: Session, project: Project, settings: Claude, *, auth: Auth) -> Spec:
    """The command, its environment and its limits."""
    limits = project.limits
    is_claude = job.kind is JobKind.CLAUDE
    own = claude.environment(auth=auth, max_retries=settings.max_retries) if is_claude else claude.proxy_environment()
    return Spec(
        argv=_argv(job, session, project, settings),
        env={**own, **_identity(job.actor)},
        cwd=f"{WORKTREES}/{session.name}",
        input="jsonl" if is_claude else "none",
        stderr="file" if is_claude else "journal",
        slot=job.slot,
        seconds=limits.minutes * 60,
        journal_bytes=limits.journal,
    )


def _identity(actor: str) -> dict[str, str]:
    """Who git says made a commit, where Claude or a person makes one in the box."""
    name, address = identity(actor)
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": address,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": address,
    }


def _argv(job: Job, session: Session, project: Project, settings: Claude) -> list[str]:
    match job.kind:
        case JobKind.SHELL:
            return ["/bin/bash", "-c", job.text]
        case JobKind.GIT:
            return list(git_command(job.text, session.name).argv)
        case JobKind.CLAUDE:
            return claude.argv(
                claude.Options(
                    session_id=session.claude_id,
                    resume=session.claude_started,
                    model=session.model or project.model or settings.model,
                    effort=session.effort or project.effort or settings.effort,
                    permissions=project.permissions,
                    plan=session.mode == "plan",
                    budget_usd=project.budget_usd,
                )
            )


def git_command(text: str, session: str) -> GitCommand:
    """How to carry out `/git … TEXT`, quoted as in a terminal; raises UserError with what is wrong with it."""
    try:
        return plan(shlex.split(text), session)
    except ValueError as error:
        raise UserError(f"{error}.") from error


def ending(kind: JobKind, record: ExitRecord | None, result: TurnResult | None, reason: str) -> Ending:
    """What the exit record, or its absence, and Claude's last result come to; `reason` is why it was stopped."""
    if record is None:
        return Ending(JobState.CANCELLED, 137, reason) if reason else Ending(JobState.FAILED, 137, LOST)
    if reason and record.reason in ("stopped", "exited"):
        # Interrupted in time, the CLI ends by itself with 0: it was stopped all the same.
        return Ending(JobState.CANCELLED, record.code or 130, reason)
    if record.reason != "exited":
        return Ending(JobState.FAILED, record.code or 1, record.message or record.reason)
    if kind is not JobKind.CLAUDE:
        return Ending(JobState.SUCCEEDED if record.code == 0 else JobState.FAILED, record.code)
    if result is None:
        return Ending(JobState.FAILED, record.code or 1, record.message or "Claude Code ended without a result")
    if not result.ok:
        return Ending(JobState.FAILED, record.code or 1, result.sentence)
    return Ending(JobState.SUCCEEDED, 0)
