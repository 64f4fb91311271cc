"""What people ask for, done: the one door for every surface."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bot import commands
from bot.acts import Acts
from bot.answers import Answers
from bot.commands import Invocation
from bot.context import Context
from bot.errors import AlreadyAccepted, Forbidden, StoreUnavailable, UserError
from bot.lookup import Message
from bot.model import AuditEntry
from bot.redaction import Redactor
from bot.reply import Reply
from bot.views import Views
from executor.errors import ExecutorError

log = logging.getLogger(__name__)

__all__ = ["Message", "Reply", "Service"]

Handler = Callable[[Invocation, Message], Awaitable[Reply]]


class Service:
    """Reads what people write, checks their rights where it acts, and answers with a sentence."""

    def __init__(self, context: Context, redactor: Redactor) -> None:
        self.context = context
        self._store = context.store
        self._redactor = redactor
        self._lookup = context.lookup
        self._acts = Acts(context)
        self._answers = Answers(context, self._acts)
        self._views = Views(context)
        self._handlers = self._table()
        self._handling: set[str] = set()

    async def handle(self, message: Message) -> Reply:
        """Do what a message says; a mistake comes back as a sentence, never as an exception."""
        text = self._redactor.clean(message.text.strip())
        redacted = text != message.text.strip().replace("\x00", "\ufffd")
        message = replace(message, text=text)
        reply = await self._guarded(message, lambda: self._once(message))
        reply = replace(reply, text=self._redactor.clean(reply.text))
        if redacted and not reply.error:
            return reply.with_note("Your message held something that looks like a secret; it was taken out first.")
        return reply

    async def answer(self, ask: str, choice: str | Sequence[str], actor: str) -> Reply:
        """Answer an ask; late, doubled and forbidden answers come back as a sentence."""
        chosen = [choice] if isinstance(choice, str) else list(choice)
        message = Message("", "", "", actor, " ".join(chosen))
        clean = [self._redactor.clean(each) for each in chosen]
        return await self._guarded(message, lambda: self._answers.answer(ask, clean, actor))

    def complete(self, text: str, actor: str) -> list[str]:
        """What the last word of a line may become, from what the actor may see."""
        return commands.complete(text, self._lookup.visible(actor))

    async def _guarded(self, message: Message, act: Callable[[], Awaitable[Reply]]) -> Reply:
        try:
            return await act()
        except AlreadyAccepted:
            return Reply("This was accepted already.")
        except Forbidden as error:
            return await self._refused(message, str(error))
        except (UserError, ExecutorError) as error:
            return Reply(str(error), error=True)
        except Exception:  # whatever breaks on our side is logged, and told as ours
            log.exception("a command failed on our side", extra={"message_id": message.id})
            return Reply(f"Something broke on our side; the log has the details under {message.id}.", error=True)

    async def _refused(self, message: Message, sentence: str) -> Reply:
        try:
            await self._store.act(AuditEntry("refused", message.actor, prompt=message.text, outcome=sentence))
        except StoreUnavailable:
            log.exception("a refusal could not be recorded", extra={"message_id": message.id})
        return Reply(sentence, error=True)

    async def _once(self, message: Message) -> Reply:
        """Do what a message says, unless the same one is being done: its id is stored only at the end of that."""
        if message.id and message.id in self._handling:
            raise AlreadyAccepted(message.id)
        self._handling.add(message.id)
        try:
            return await self._dispatch(message)
        finally:
            self._handling.discard(message.id)

    async def _dispatch(self, message: Message) -> Reply:
        if not message.text:
            raise UserError("There is nothing to do in an empty message. /rdev help lists the commands.")
        if not message.text.startswith("/"):
            return await self._acts.reply(message)
        invocation = commands.parse(message.text)
        return await self._handlers[invocation.name](invocation, message)

    def _table(self) -> dict[str, Handler]:
        acts, views, answers = self._acts, self._views, self._answers
        return {
            "claude": acts.claude,
            "shell": acts.shell,
            "git": acts.git,
            "rdev start": acts.start,
            "rdev stop": acts.stop,
            "rdev resume": acts.resume,
            "rdev delete": acts.delete,
            "rdev push": acts.push,
            "rdev rewind": acts.rewind,
            "rdev allow": acts.allow,
            "rdev answer": answers.command,
            "rdev asks": views.asks,
            "rdev projects": views.projects,
            "rdev status": views.status,
            "rdev sessions": views.sessions,
            "rdev jobs": views.jobs,
            "rdev logs": views.logs,
            "rdev diff": views.diff,
            "rdev checkpoints": views.checkpoints,
            "rdev cost": views.cost,
            "rdev audit": views.audit,
            "rdev help": views.help,
        }
