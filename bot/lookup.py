"""Find what a command speaks of, as far as the actor may see it; deny by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.commands import unknown
from bot.errors import UserError
from bot.model import Job, Session
from bot.permissions import Right, allowed, require
from bot.site import Site
from bot.store import Store


@dataclass(frozen=True, slots=True)
class Message:
    """What a person wrote, and where."""

    id: str
    """The platform's own id; the same id is never run twice."""
    surface: str
    thread: str
    """Empty outside any thread."""
    actor: str
    text: str
    channel: str = ""
    """Where a new thread is to be opened, on platforms whose threads hang below something."""


class Lookup:
    """Projects, sessions and jobs by the names people use."""

    def __init__(self, sites: Mapping[str, Site], store: Store) -> None:
        self._sites = sites
        self._store = store

    def visible(self, actor: str) -> list[str]:
        """The ids of the projects that the actor may see."""
        return self.having(actor, Right.VIEW)

    def having(self, actor: str, right: Right) -> list[str]:
        """The ids of the projects where the actor has the right."""
        return sorted(name for name, site in self._sites.items() if allowed(site.project, actor, right))

    def site(self, name: str, actor: str, right: Right) -> Site:
        """The project of that name.

        Raises UserError where there is none that the actor may see, Forbidden where the right is missing.
        """
        known = self.visible(actor)
        if name not in known:
            if not known:
                raise UserError("You may not use any project here. Ask whoever keeps rdev's configuration.")
            raise unknown("project", name, known)
        site = self._sites[name]
        require(name, site.project, actor, right)
        return site

    def sites(self, name: str, actor: str, right: Right) -> list[Site]:
        """The named project, or every one where the actor has the right."""
        if name:
            return [self.site(name, actor, right)]
        return [self._sites[each] for each in self.visible(actor) if allowed(self._sites[each].project, actor, right)]

    async def here(self, message: Message) -> Session | None:
        """The living session of the thread the message was written in, where the actor may see it."""
        found = await self._store.session_of(message.surface, message.thread) if message.thread else None
        return (
            found if found is not None and not found.deleted and found.project in self.visible(message.actor) else None
        )

    async def session(self, name: str, message: Message, right: Right) -> Session:
        """The session of that name, `project/name` or id; without a name the thread's own."""
        found = await self._named(name, message.actor) if name else await self.here(message)
        if found is None or found.deleted:
            if not name:
                raise UserError("Which session? Write this in its thread, or name it; /rdev sessions lists them.")
            raise unknown("session", name, await self._session_names(message.actor))
        self.site(found.project, message.actor, right)
        return found

    async def job(self, name: str, message: Message, right: Right) -> Job:
        """The job of that id; without an id the thread's latest."""
        if name:
            job = await self._store.job(name)
        else:
            session = await self.session("", message, right)
            job = next(iter(await self._store.jobs(session=session.id, limit=1)), None)
        if job is None or job.project not in self.visible(message.actor):
            recent = [job.id for site in self.visible(message.actor) for job in await self._store.jobs(project=site)]
            raise unknown("job", name, recent) if name else UserError("This session has no job yet.")
        self.site(job.project, message.actor, right)
        return job

    async def _named(self, name: str, actor: str) -> Session | None:
        project, slash, short = name.rpartition("/")
        places = [project] if slash else self.visible(actor)
        for place in places:
            if place in self.visible(actor) and (found := await self._store.session_named(place, short)) is not None:
                return found
        found = await self._store.session(name)
        return found if found is not None and found.project in self.visible(actor) else None

    async def _session_names(self, actor: str) -> list[str]:
        return [s.name for project in self.visible(actor) for s in await self._store.sessions(project, limit=100)]
