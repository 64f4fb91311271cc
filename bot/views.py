"""The commands that show something; each shows only what the actor may see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bot import commands
from bot.commands import Invocation
from bot.context import Context
from bot.errors import UserError
from bot.lookup import Message
from bot.model import Job, JobState
from bot.permissions import Right
from bot.rendering import count, duration, line, money
from bot.reply import Reply
from bot.safetext import clean, one_line
from executor.backend import BoxState
from executor.events import Output, Text

_ACTIVE = (JobState.RUNNING, JobState.STARTING, JobState.QUEUED)
_TAIL_EVENTS = 400
_TAIL_CHARACTERS = 12_000


class Views:
    """What people can look at."""

    def __init__(self, context: Context) -> None:
        self._lookup = context.lookup
        self._store = context.store
        self._runner = context.runner
        self._clock = context.clock

    async def help(self, invocation: Invocation, message: Message) -> Reply:
        """The table of commands."""
        return Reply(commands.help_text(invocation.words), message.thread)

    async def projects(self, invocation: Invocation, message: Message) -> Reply:
        """Projects and their boxes."""
        rows = []
        for site in self._lookup.sites("", message.actor, Right.VIEW):
            box = (await site.backend.status()).get(site.id)
            state = box.state if box else BoxState.STOPPED
            rows.append((site.id, state, f"push {site.project.push}", box.reason if box else ""))
        return Reply(_table(rows) or "There is no project that you may see.", message.thread)

    async def status(self, invocation: Invocation, message: Message) -> Reply:
        """What runs and waits, and who is asked."""
        rows = []
        for site in self._lookup.sites(*_scope(invocation), message.actor, Right.VIEW):
            box = (await site.backend.status()).get(site.id)
            rows.append((site.id, "box " + (box.state if box else BoxState.STOPPED), "", box.reason if box else ""))
            for job in await self._store.jobs(project=site.id, states=_ACTIVE):
                rows.append(("", job.id, job.state, await self._about(job)))
            rows += [("", ask.id, f"asks: {ask.kind}", "") for ask in await self._store.open_asks(site.id)]
        return Reply(_table(rows) or "There is no project that you may see.", message.thread)

    async def sessions(self, invocation: Invocation, message: Message) -> Reply:
        """Sessions, newest first."""
        rows = []
        for site in self._lookup.sites(*_scope(invocation), message.actor, Right.VIEW):
            for session in await self._store.sessions(site.id, limit=20):
                live = self._runner.live_in(session.id)
                state = live.job.state if live else "idle"
                cost = money((await self._store.session_cost(session.id)).cost_usd)
                rows.append((f"{site.id}/{session.name}", state, self._ago(session.created), cost, session.actor))
        return Reply(_table(rows) or "There is no session yet.", message.thread)

    async def jobs(self, invocation: Invocation, message: Message) -> Reply:
        """Jobs, newest first."""
        rows = []
        for site in self._lookup.sites(*_scope(invocation), message.actor, Right.VIEW):
            rows += [(j.id, j.state, self._ago(j.created), await self._about(j)) for j in await self._latest(site.id)]
        return Reply(_table(rows) or "There is no job yet.", message.thread)

    async def logs(self, invocation: Invocation, message: Message) -> Reply:
        """The end of a job's events, as text."""
        job = await self._lookup.job(invocation.words[0] if invocation.words else "", message, Right.VIEW)
        text, seq = "", max(0, job.seq - _TAIL_EVENTS)
        # Page by page, since a page ends where it gets large; of what is read only the end is kept.
        while entries := await self._store.entries(job.id, seq):
            for entry in entries:
                if isinstance(entry.event, Text | Output):
                    text += clean(entry.event.text[-_TAIL_CHARACTERS:])
                elif (shown := line(entry.event)) is not None:
                    text += ("" if not text or text.endswith("\n") else "\n") + str(shown) + "\n"
                text = text[-_TAIL_CHARACTERS - 1 :]
            seq = entries[-1].seq
        cut = "…" if len(text) > _TAIL_CHARACTERS or job.seq > _TAIL_EVENTS else ""
        return Reply(cut + text[-_TAIL_CHARACTERS:].rstrip(), message.thread, job.id)

    async def diff(self, invocation: Invocation, message: Message) -> Reply:
        """A session's changes."""
        session = await self._lookup.session(" ".join(invocation.words), message, Right.VIEW)
        site = self._lookup.site(session.project, message.actor, Right.VIEW)
        await site.backend.start(site.box)
        text = await site.repository.diff(session.name)
        return Reply(clean(text) or "Nothing differs from the base branch.", message.thread)

    async def checkpoints(self, invocation: Invocation, message: Message) -> Reply:
        """A session's checkpoints."""
        session = await self._lookup.session(" ".join(invocation.words), message, Right.VIEW)
        site = self._lookup.site(session.project, message.actor, Right.VIEW)
        await site.backend.start(site.box)
        found = await site.repository.checkpoints(session.name)
        rows = [(str(c.number), c.commit[:10], self._ago(c.time), one_line(c.label)) for c in found]
        return Reply(_table(rows) or "There is no checkpoint yet.", message.thread)

    async def asks(self, invocation: Invocation, message: Message) -> Reply:
        """Open asks."""
        rows = []
        for site in self._lookup.sites(*_scope(invocation), message.actor, Right.VIEW):
            for ask in await self._store.open_asks(site.id):
                rows.append((ask.id, ask.kind, site.id, self._ago(ask.created), ask.job))
        return Reply(_table(rows) or "Nothing waits for an answer.", message.thread)

    async def cost(self, invocation: Invocation, message: Message) -> Reply:
        """Cost by project, of the last 30 days."""
        rows = []
        since = self._clock() - 30 * 86_400
        for site in self._lookup.sites(*_scope(invocation), message.actor, Right.VIEW):
            for cost in await self._store.costs(project=site.id, since=since):
                rows.append((site.id, f"{cost.jobs} jobs", money(cost.cost_usd), f"{count(cost.tokens)} tokens"))
        return Reply(_table(rows) + "\nin the last 30 days" if rows else "Nothing was spent yet.", message.thread)

    async def audit(self, invocation: Invocation, message: Message) -> Reply:
        """The latest acts in projects that the actor administers."""
        scope = _scope(invocation)
        sites = self._lookup.sites(*scope, message.actor, Right.ADMIN)
        if not sites:
            raise UserError("The audit log is for those who administer a project.")
        rows = []
        for site in sites:
            for row in await self._store.audit(project=site.id, limit=20):
                when = datetime.fromtimestamp(row.time, UTC).strftime("%m-%d %H:%M:%S")
                rows.append((str(row.seq), when, row.actor, row.action, row.outcome, one_line(row.prompt)[:60]))
        return Reply(_table(rows) or "Nothing was done yet.", message.thread)

    async def _latest(self, project: str) -> list[Job]:
        return await self._store.jobs(project=project, limit=20)

    async def _about(self, job: Job) -> str:
        session = await self._store.session(job.session)
        return f"{job.kind} in {session.name if session else job.session}: {one_line(job.text)[:60]}"

    def _ago(self, when: float) -> str:
        return duration(max(0.0, self._clock() - when)) + " ago"


def _scope(invocation: Invocation) -> tuple[str]:
    return (invocation.words[0] if invocation.words else "",)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart."""
    if not rows:
        return ""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
