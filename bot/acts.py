"""The commands that do something; each asks for its right and leaves an audit entry."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import uuid
from dataclasses import replace

from bot.commands import Invocation
from bot.context import Context
from bot.errors import UserError
from bot.intake import Intake, entry
from bot.lookup import Message
from bot.model import Ask, AskKind, AskState, AuditEntry, Grant, Job, JobKind, JobState, Session
from bot.permissions import Right
from bot.reply import Reply
from bot.site import Site
from bot.turn import git_command
from executor.git import Route
from executor.squid import pattern

GO_ON = "Continue from where you left off."
_CONFIRM_SECONDS = 600


class Acts:
    """What people can make happen."""

    def __init__(self, context: Context) -> None:
        self._sites = context.sites
        self._lookup = context.lookup
        self._store = context.store
        self._runner = context.runner
        self._clock = context.clock
        self._intake = Intake(context)

    async def claude(self, invocation: Invocation, message: Message) -> Reply:
        """A turn of Claude: in the thread's session where it is the project's, else in a new one."""
        site = self._lookup.site(invocation.words[0], message.actor, Right.RUN)
        here = await self._lookup.here(message)
        if here is not None and here.project == site.id and not invocation.flags:
            return await self.reply(replace(message, text=invocation.rest))
        await self._intake.check(message)
        session = Session(
            id="s" + secrets.token_hex(5),
            project=site.id,
            name=_name(invocation.rest),
            claude_id=str(uuid.uuid4()),
            actor=message.actor,
            created=self._clock(),
            model=invocation.flag("--model") or "",
            effort=invocation.flag("--effort") or "",
            mode="plan" if invocation.flag("--plan") is not None else "",
        )
        await self._store.add_session(session, entry("session", message, session))
        return await self._intake.submit(session, JobKind.CLAUDE, invocation.rest, message)

    async def shell(self, invocation: Invocation, message: Message) -> Reply:
        """A command line in the session's worktree."""
        site = self._lookup.site(invocation.words[0], message.actor, Right.RUN)
        return await self._intake.submit(
            await self._intake.session(site, message), JobKind.SHELL, invocation.rest, message
        )

    async def git(self, invocation: Invocation, message: Message) -> Reply:
        """git in the session's worktree; `push` goes through the guarded repository."""
        site = self._lookup.site(invocation.words[0], message.actor, Right.RUN)
        session = await self._intake.session(site, message)
        if git_command(invocation.rest, session.name).route is not Route.PUSH:
            return await self._intake.submit(session, JobKind.GIT, invocation.rest, message)
        self._lookup.site(site.id, message.actor, Right.APPROVE)
        return await self.push_session(session, message)

    async def reply(self, message: Message) -> Reply:
        """A line without a slash: it reaches the running Claude, or is the session's next turn."""
        session = await self._lookup.here(message)
        if session is None:
            raise UserError(
                "Nothing goes on here. Begin with /claude <project> <what to do>; /rdev help lists the rest."
            )
        self._lookup.site(session.project, message.actor, Right.RUN)
        life = self._runner.live_in(session.id)
        if life is not None and life.job.kind is JobKind.CLAUDE:
            await self._intake.check(message)
            audit = entry("follow-up", message, session, life.job.id)
            if await life.follow_up(message.actor, message.text, audit, seen_id=message.id):
                return Reply("Claude reads this at its next step.", message.thread, life.job.id)
        return await self._intake.submit(session, JobKind.CLAUDE, message.text, message)

    async def start(self, invocation: Invocation, message: Message) -> Reply:
        """Bring a box up."""
        site = self._lookup.site(invocation.words[0], message.actor, Right.RUN)
        await site.backend.start(site.box)
        await site.repository.prepare()
        await self._store.act(AuditEntry("start", message.actor, site.id, outcome="running"))
        return Reply(f"The box of {site.id} is running, and squid is proved to be its only way out.")

    async def stop(self, invocation: Invocation, message: Message) -> Reply:
        """Stop a thread's session, a session, a job, or a project with its box."""
        target = invocation.words[0] if invocation.words else ""
        if target in self._lookup.visible(message.actor):
            return await self._stop_project(target, message, purge=invocation.flag("--purge") is not None)
        if invocation.flag("--purge") is not None:
            raise UserError("--purge goes with a project: /rdev stop <project> --purge")
        if target and (job := await self._store.job(target)) is not None:
            jobs = [await self._lookup.job(job.id, message, Right.RUN)]
        else:
            session = await self._lookup.session(target, message, Right.RUN)
            jobs = await self._store.jobs(session=session.id, states=_ACTIVE, limit=1000)
        stopped = await self._stop(jobs, message)
        return Reply(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.", message.thread)

    async def resume(self, invocation: Invocation, message: Message) -> Reply:
        """Let a stopped or lost conversation go on."""
        session = await self._lookup.session(" ".join(invocation.words), message, Right.RUN)
        if self._runner.live_in(session.id) is not None:
            raise UserError(f"{session.project}/{session.name} is at work already.")
        return await self._intake.submit(session, JobKind.CLAUDE, GO_ON, message)

    async def push(self, invocation: Invocation, message: Message) -> Reply:
        """Push a session's branch, as a job whose result every thread of the session shows."""
        session = await self._lookup.session(" ".join(invocation.words), message, Right.APPROVE)
        return await self.push_session(session, message)

    async def push_session(self, session: Session, message: Message) -> Reply:
        """The push itself; whoever calls has checked the right."""
        if self._sites[session.project].project.push == "never":
            raise UserError(f'{session.project} never pushes (push = "never" in the configuration).')
        return await self._intake.submit(session, JobKind.GIT, "push", message)

    async def rewind(self, invocation: Invocation, message: Message) -> Reply:
        """Put a session's files back; what was there is kept as one more checkpoint."""
        number, *names = invocation.words
        if not number.isdigit():
            raise UserError(f"“{number}” is not a checkpoint's number; /rdev checkpoints lists them.")
        session = await self._lookup.session(" ".join(names), message, Right.RUN)
        with self._runner.held(session.id):
            if self._runner.live_in(session.id) is not None:
                raise UserError("It is at work: stop it first with /rdev stop, then rewind.")
            await self._intake.take(message)
            site = self._sites[session.project]
            await site.backend.start(site.box)
            safety = await site.repository.rewind(session.name, int(number))
        await self._store.act(entry("rewind", message, session, outcome=number))
        return Reply(
            f"The files are as they were at checkpoint {number}. What was there is checkpoint {safety.number}."
        )

    async def allow(self, invocation: Invocation, message: Message) -> Reply:
        """Grant a domain to a session or a whole project, at once."""
        domain, *names = invocation.words
        target = " ".join(names)
        if target in self._lookup.visible(message.actor):
            site, session = self._lookup.site(target, message.actor, Right.APPROVE), None
        else:
            session = await self._lookup.session(target, message, Right.APPROVE)
            site = self._sites[session.project]
        await self.grant(site, session.id if session else "", domain, message.actor)
        whom = f"{site.id}/{session.name}" if session else f"everything in {site.id}"
        return Reply(f"{whom} may reach {domain.lower()} from now on, and send it anything.")

    async def grant(self, site: Site, session: str, domain: str, actor: str) -> None:
        """Store a grant and open the filter for what runs; whoever calls has checked the right."""
        try:
            domain = pattern(domain)
        except ValueError as error:  # stored, it would keep every later job from starting
            raise UserError(str(error)) from error
        act = AuditEntry("grant", actor, site.id, session, prompt=domain, outcome="allowed")
        await self._store.grant(Grant(site.id, session, domain, actor, self._clock(), 0), act)
        grants = await self._store.grants(site.id, session or None, self._clock())
        if not session:
            await site.backend.allow(site.id, 0, [*site.box.domains, *(g.domain for g in grants if not g.session)])
        elif (life := self._runner.live_in(session)) is not None and life.job.slot:  # slot 0 is the whole box
            await site.backend.allow(site.id, life.job.slot, [g.domain for g in grants if g.session])

    async def delete(self, invocation: Invocation, message: Message) -> Reply:
        """Ask whether to remove a session."""
        session = await self._lookup.session(" ".join(invocation.words), message, Right.RUN)
        title = f"Delete {session.project}/{session.name}, its worktree and its checkpoints?"
        return await self._confirm(title, message, session.project, session=session.id)

    async def delete_session(self, session: Session, message: Message) -> str:
        """Remove a session after a person confirmed it."""
        if session.deleted:
            raise UserError(f"{session.project}/{session.name} was deleted before.")
        with self._runner.held(session.id):
            await self._end(await self._store.jobs(session=session.id, states=_ACTIVE, limit=1000), message)
            site = self._sites[session.project]
            await site.backend.start(site.box)
            await site.repository.close_worktree(session.name)
            await self._store.update_session(session.id, audit=entry("delete", message, session), deleted=True)
        return f"{session.project}/{session.name} is deleted. What was pushed stays where it was pushed."

    async def purge(self, site: Site, message: Message) -> str:
        """Remove a project's box and workspace after a person confirmed it."""
        with self._runner.held(site.id):
            await self._end(await self._store.jobs(project=site.id, states=_ACTIVE, limit=1000), message)
            await site.backend.delete(site.id)
            await self._store.forget_claude(site.id, AuditEntry("purge", message.actor, site.id, outcome="removed"))
        return f"The box and the workspace of {site.id} are gone."

    async def _stop_project(self, project: str, message: Message, *, purge: bool) -> Reply:
        site = self._lookup.site(project, message.actor, Right.ADMIN if purge else Right.RUN)
        if purge:
            title = f"Remove the box of {project} and its whole workspace, with everything that was not pushed?"
            return await self._confirm(title, message, project)
        with self._runner.held(project):
            try:
                stopped = await self._end(await self._store.jobs(project=project, states=_ACTIVE, limit=1000), message)
            finally:  # which ends, too, what could not be stopped one by one
                await site.backend.stop(project)
        await self._store.act(AuditEntry("stop", message.actor, project, outcome="stopped"))
        return Reply(f"The box of {project} is stopped with {len(stopped)} jobs; its workspace is kept.")

    async def _stop(self, jobs: list[Job], message: Message) -> list[str]:
        reason = f"stopped by {message.actor}"
        entries = [AuditEntry("stop", message.actor, j.project, j.session, j.id, outcome="stopped") for j in jobs]
        # Queued jobs first, else the end of a running one would let the next begin.
        jobs.sort(key=lambda job: job.state is not JobState.QUEUED)
        by_job = {entry.job: entry for entry in entries}
        stops = (self._runner.stop(job, reason, by_job[job.id]) for job in jobs)
        done = await asyncio.gather(*stops, return_exceptions=True)  # one that fails must not hide the others
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        return [job.id for job, stopped in zip(jobs, done, strict=True) if stopped]

    async def _end(self, jobs: list[Job], message: Message) -> list[str]:
        """Stop jobs and wait until each has kept its files: what they work in is about to go."""
        stopped = await self._stop(jobs, message)
        await asyncio.gather(*(self._runner.ended(job.id) for job in jobs))
        return stopped

    async def _confirm(self, title: str, message: Message, project: str, *, session: str = "") -> Reply:
        """Ask to confirm: with a session its deletion, else the project's purge."""
        await self._intake.take(message)
        now = self._clock()
        act, right = ("delete", Right.RUN) if session else ("purge", Right.ADMIN)
        request = json.dumps({"act": act, "right": right, "title": title, "surface": message.surface})
        identity = "a" + secrets.token_hex(4)
        ask = Ask(identity, "", project, session, AskKind.CONFIRM, request, AskState.OPEN, now, now + _CONFIRM_SECONDS)
        await self._store.add_ask(ask, AuditEntry("ask", message.actor, project, session, prompt=title))
        return Reply(f"{title} Answer with yes or no: /rdev answer {identity} yes", asks=(ask,))


_ACTIVE = (JobState.QUEUED, JobState.STARTING, JobState.RUNNING)


def _name(text: str) -> str:
    """A short name for a session from its first prompt: `fix-the-auth-bug-7c2e`."""
    words = re.findall(r"[a-z0-9]+", text.lower())[:5]
    return "-".join([*words, secrets.token_hex(2)])[-48:].lstrip("-")
