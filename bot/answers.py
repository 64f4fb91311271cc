"""What people answer to asks: who may, once, in time, and what follows from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from bot.acts import Acts
from bot.commands import Invocation
from bot.context import Context
from bot.errors import UserError
from bot.lookup import Message
from bot.model import Ask, AskKind, AskState, AuditEntry
from bot.permissions import Right
from bot.reply import Reply
from bot.site import Site
from executor.events import AskClosed

_RIGHTS = {
    AskKind.QUESTION: Right.RUN,
    AskKind.PLAN: Right.RUN,
    AskKind.PERMISSION: Right.APPROVE,
    AskKind.DOMAIN: Right.APPROVE,
    AskKind.PUSH: Right.APPROVE,
}
_YES = frozenset({"yes", "y", "push"})


class Answers:
    """Takes an answer once, from who may give it."""

    def __init__(self, context: Context, acts: Acts) -> None:
        self._lookup = context.lookup
        self._store = context.store
        self._runner = context.runner
        self._clock = context.clock
        self._acts = acts

    async def command(self, invocation: Invocation, message: Message) -> Reply:
        """`/rdev answer <ask> <answer>`."""
        if not invocation.rest:
            raise UserError("What is the answer? It is written: /rdev answer <ask> <answer>")
        return await self.answer(invocation.words[0], [invocation.rest], message.actor)

    async def answer(self, name: str, choice: Sequence[str], actor: str) -> Reply:
        """Answer an ask."""
        ask = await self._store.ask(name)
        if ask is None or ask.project not in self._lookup.visible(actor):
            raise UserError(f"There is no ask “{name}”; /rdev asks lists what waits.")
        right = Right(json.loads(ask.request)["right"]) if ask.kind is AskKind.CONFIRM else _RIGHTS[ask.kind]
        site = self._lookup.site(ask.project, actor, right)
        self._check_open(ask)
        if ask.kind is AskKind.PUSH:
            self._runner.check_room()
        # Whoever waits for the reply may go away, but not between the answer and what follows from it.
        return await asyncio.shield(self._settle(ask, site, choice, actor))

    async def _settle(self, ask: Ask, site: Site, choice: Sequence[str], actor: str) -> Reply:
        text = ", ".join(choice)
        audit = AuditEntry(
            "answer", actor, ask.project, ask.session, ask.job, f"{ask.kind} {ask.id}: {text}", outcome="done"
        )
        closed = [AskClosed(ask.id, "answered", text, actor)]
        if not await self._store.answer_ask(ask.id, json.dumps(list(choice)), actor, events=closed, audit=audit):
            self._check_open(await self._store.ask(ask.id) or ask)
        answered = await self._store.ask(ask.id)
        assert answered is not None  # asks are never deleted
        return await self._follow_through(answered, site, choice, actor)

    def _check_open(self, ask: Ask) -> None:
        """Raise UserError for an ask that takes no answer any more."""
        match ask.state:
            case AskState.ANSWERED:
                given = ", ".join(json.loads(ask.answer))
                raise UserError(f"{ask.actor} has answered this already: {given}.")
            case AskState.WITHDRAWN:
                raise UserError("This is no longer asked: the work went on or ended without it.")
            case AskState.EXPIRED:
                raise UserError("Nobody answered this in time. /rdev resume lets Claude go on, and ask again.")
            case AskState.OPEN:
                if ask.expires and ask.expires <= self._clock():
                    raise UserError("The time for this answer is over.")

    async def _follow_through(self, ask: Ask, site: Site, choice: Sequence[str], actor: str) -> Reply:
        said = " ".join(choice).strip().lower()
        session = await self._store.session(ask.session) if ask.session else None
        message = Message("", "", "", actor, said)
        match ask.kind:
            case AskKind.DOMAIN:
                return await self._domain(ask, site, said, actor)
            case AskKind.PUSH:
                if said in _YES and session is not None:
                    job = await self._store.job(ask.job)
                    where = Message("", job.surface if job else "", job.thread if job else "", actor, "push")
                    return await self._acts.push_session(session, where)
                return Reply("It is not pushed; /rdev push does it later.")
            case AskKind.CONFIRM:
                if said not in _YES:
                    return Reply("Nothing was done.")
                if json.loads(ask.request)["act"] == "purge":
                    return Reply(await self._acts.purge(site, message))
                assert session is not None  # delete is asked about a session
                return Reply(await self._acts.delete_session(session, message))
            case AskKind.PERMISSION | AskKind.QUESTION | AskKind.PLAN:
                life = self._runner.life(ask.job)
                if life is None:
                    raise UserError("The job that asked has ended. /rdev resume lets Claude go on, and ask again.")
                await life.send_answers()
                return Reply("", job=ask.job)

    async def _domain(self, ask: Ask, site: Site, said: str, actor: str) -> Reply:
        domain = json.loads(ask.request)
        if said.startswith(("this", "session", "1")):
            await self._acts.grant(site, ask.session, domain, actor)
            return Reply(f"This session may reach {domain} from now on.")
        if said.startswith(("all", "project", "2")):
            await self._acts.grant(site, "", domain, actor)
            return Reply(f"All of {site.id} may reach {domain} from now on.")
        return Reply(f"{domain} stays out of reach.")
