"""What people do on Discord, brought to the service: commands, replies, buttons, choices and forms."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from weakref import WeakValueDictionary

import aiohttp
import discord
from discord import InteractionType as Kind
from discord import app_commands

from adapters import discord_commands as commands
from adapters import discord_forms as forms
from adapters import discord_telling as telling
from adapters.discord_limits import Limits
from adapters.discord_missed import missed
from adapters.discord_telling import Interaction
from bot.board import HoldBack
from bot.budget import Urgency
from bot.errors import ThreadGone
from bot.permissions import Right
from bot.service import Message, Reply, Service

log = logging.getLogger(__name__)

_SURFACE = "discord"
_REMEMBERED = 8192
"""Ids of what was done lately: a gateway that resumes may say things twice."""
_BEGINS = {"claude": "Claude works in {}.", "shell": "A command runs in {}.", "git": "git runs in {}."}
_RUNS = frozenset({*_BEGINS, "rdev start"})
_WRITTEN = frozenset({discord.MessageType.default, discord.MessageType.reply})


class Inbound:
    """Everything that reaches us from Discord."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._done: OrderedDict[int, None] = OrderedDict()
        self._order: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def on_interaction(self, interaction: Interaction) -> None:
        """A command, a beginning of one, a click, a choice or a form."""
        if self._repeated(interaction.id):
            return
        data = cast(Mapping[str, Any], interaction.data or {})
        try:
            match interaction.type:
                case Kind.application_command if data.get("type") == 3:
                    await self._about(interaction, data)
                case Kind.application_command:
                    await self._command(interaction, commands.line(data))
                case Kind.autocomplete:
                    await self._complete(interaction, data)
                case Kind.component | Kind.modal_submit:
                    await self._chosen(interaction, data)
                case _:
                    pass
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("an interaction could not be answered: %s", error)

    async def catch_up(self, client: discord.Client) -> None:
        """Read what was written while there was no connection."""
        async for message in missed(client, self._service.context.store):
            await self.on_message(message)

    async def on_message(self, message: discord.Message) -> None:
        """What is written in a thread of ours goes on with its session; all else is none of our business."""
        if message.author.bot or message.webhook_id or message.type not in _WRITTEN:
            return
        thread = str(message.channel.id)
        session = await self._service.context.store.session_of(_SURFACE, thread)
        if session is None or self._repeated(message.id):
            return
        lock = self._order.setdefault(thread, asyncio.Lock())
        async with lock:
            seen = asyncio.create_task(self._seen(message, session.project), name=f"acknowledge {message.id}")
            said = self._message(f"discord:{message.id}", message.author, message.channel, message.content)
            reply = await self._service.handle(said)
            await seen
            if message.attachments:
                reply = reply.with_note("The files that came with it were not passed on.")
            if reply.text:
                await self._answer(message, reply)

    async def _command(self, interaction: Interaction, line: str, *, about: str = "") -> None:
        """Run a line, which may be about a message."""
        name, project = line[1:].split(" ", maxsplit=1)[0], [*line.split(" "), ""][1]
        message = self._message(f"discord:{interaction.id}", interaction.user, interaction.channel, line)
        fresh = name in _BEGINS and not message.thread and project in self._may(message.actor, Right.RUN)
        if not fresh:
            if await telling.deferred(interaction):
                message = await forms.quoting(interaction, message, about)
                await telling.finish(interaction, await self._service.handle(message))
            return
        first = await telling.begun(interaction, _BEGINS[name].format(f"**{project}**"))
        if not first:
            return
        message = replace(message, channel=f"{message.channel}/{first}")
        reply = await self._service.handle(await forms.quoting(interaction, message, about))
        await telling.finish_public(interaction, first, reply)
        if reply.thread == first:
            await interaction.client.http.add_user_to_thread(int(first), interaction.user.id)

    async def _complete(self, interaction: Interaction, data: Mapping[str, Any]) -> None:
        name, option, typed = commands.focused(data)
        actor = _actor(interaction.user)
        found = self._may(actor, Right.RUN if name in _RUNS else Right.VIEW) if option != "session" else []
        if option in ("session", "target"):
            for project in self._may(actor, Right.VIEW):
                sessions = await self._service.context.store.sessions(project, limit=25)
                found += [f"{project}/{session.name}" for session in sessions]
        fitting = [each for each in found if typed.casefold() in each.casefold()][:25]
        choices = [app_commands.Choice(name=each[:100], value=each[:100]) for each in fitting]
        await interaction.response.autocomplete(choices)

    async def _about(self, interaction: Interaction, data: Mapping[str, Any]) -> None:
        """“Ask Claude about this”: which project, and what is to be done."""
        actor = _actor(interaction.user)
        projects = self._may(actor, Right.RUN)
        if projects:
            await interaction.response.send_modal(forms.about(str(data["target_id"]), projects))
            return
        # Nobody without the right gets a form; the service has the sentence that says whom to ask.
        seen = self._may(actor, Right.VIEW) or ["?"]
        await self._command(interaction, f"/claude {seen[0]} {commands.ASK_ABOUT}")

    async def _chosen(self, interaction: Interaction, data: Mapping[str, Any]) -> None:
        kind, _, rest = str(data.get("custom_id", "")).removeprefix("rdev:").partition(":")
        match kind:
            case "answer" | "choose" | "written":
                await self._answered(interaction, kind, rest, data)
            case "write":
                await interaction.response.send_modal(forms.answer(rest))
            case "do" if rest == "rewind":
                await self._rewind(interaction)
            case "do":
                await self._command(interaction, f"/rdev {rest}")
            case "rewind":
                await self._command(interaction, f"/rdev rewind {data['values'][0]}")
            case "about":
                fields = forms.values(data)
                await self._command(interaction, f"/claude {fields['project'][0]} {fields['prompt'][0]}", about=rest)
            case _:
                if await telling.deferred(interaction):
                    await telling.finish(interaction, Reply("This is of another version of rdev; /rdev help."))

    async def _answered(self, interaction: Interaction, kind: str, rest: str, data: Mapping[str, Any]) -> None:
        if not await telling.noted(interaction):
            return
        ask, _, number = rest.partition(":")
        match kind:
            case "written":
                given = forms.values(data)["answer"]
            case "choose":
                given = await forms.choices(self._service.context.store, ask, data["values"])
            case _:
                given = await forms.choices(self._service.context.store, ask, [number])
        reply = await self._service.answer(ask, given, _actor(interaction.user))
        if reply.text:
            await telling.whisper(interaction, reply)

    async def _rewind(self, interaction: Interaction) -> None:
        if not await telling.deferred(interaction):
            return
        message = self._message("", interaction.user, interaction.channel, "/rdev checkpoints")
        reply = await self._service.handle(message)
        view, files = telling.composed(reply.text, reply)
        rows = [row for row in reply.text.splitlines() if row.split(" ")[0].isdigit()]
        if rows:
            view.add_item(forms.checkpoints(rows))
        await interaction.edit_original_response(view=view, attachments=files)

    async def _seen(self, message: discord.Message, project: str) -> None:
        """Show at once that a reply has arrived, to who may write it."""
        if project not in self._may(_actor(message.author), Right.RUN):
            return
        try:
            await self._limits.everything.take(Urgency.REPLY)
            await message.add_reaction("👀")
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("a reply could not be acknowledged: %s", error)

    async def _answer(self, message: discord.Message, reply: Reply) -> None:
        await self._limits.of(str(message.channel.id), edit=False).take(Urgency.REPLY)
        try:
            await telling.beside(message, reply)
        except (discord.HTTPException, ThreadGone, HoldBack, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("a reply could not be answered: %s", error)

    def _may(self, actor: str, right: Right) -> list[str]:
        return self._service.context.lookup.having(actor, right)

    def _message(self, identity: str, user: discord.abc.User, channel: object, text: str) -> Message:
        thread = channel if isinstance(channel, discord.Thread | discord.PartialMessageable) else None
        parent = getattr(channel, "parent_id", None) or getattr(channel, "id", "")
        return Message(identity, _SURFACE, str(thread.id) if thread else "", _actor(user), text, str(parent))

    def _repeated(self, identity: int) -> bool:
        if identity in self._done:
            return True
        self._done[identity] = None
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        return False


def _actor(user: discord.abc.User) -> str:
    return f"{_SURFACE}:{user.id}"
