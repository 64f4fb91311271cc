"""What people do in the Discord on loopback: they write, click, choose, react, and see only what they may."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from discord_channels import add_reaction
from discord_commands import ATTACHMENT, NotOffered, fill, find
from discord_forms import chosen, filled, pressed
from discord_nouns import Channel, Interaction, Message, Upload, User
from discord_permissions import BITS
from discord_posting import mark_mentions
from discord_refusals import FILE_BYTES
from discord_state import State
from discord_wire import LOADING, Wire, walk

NOBODY: Sequence[Upload] = ()


class People:
    """The hands of people in one guild; each refuses, with NotOffered, what their Discord would not let them do."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.shown: list[Interaction] = []  # every interaction there was

    # -- messages ------------------------------------------------------------------------------------------------

    def say(
        self,
        user: User,
        channel: Channel,
        text: str,
        attachments: Iterable[Upload] = NOBODY,
        *,
        reply_to: Message | None = None,
    ) -> Message:
        """Write into a channel or thread; an archived thread comes back unless it is locked."""
        if channel.locked or channel.id not in self.state.channels:
            raise NotOffered("nobody can write here")
        message = Message(self.state.ids.next(), channel, user, text.strip())
        message.attachments = self.state.attach(channel, list(attachments))
        if reply_to is not None:
            where = {"channel_id": str(channel.id), "guild_id": str(self.state.guild)}
            message.kind, message.referenced = 19, reply_to
            message.reference = {"type": 0, "message_id": str(reply_to.id), **where}
        mark_mentions(self.state, message, None)
        if channel.parent:
            self.state.join(channel, user)
        return self.state.store(message)

    def edit(self, user: User, message: Message, text: str) -> None:
        if message.author is not user:
            raise NotOffered("people edit only their own messages")
        message.content = text.strip()
        mark_mentions(self.state, message, None)
        self.state.edited(message)

    def delete(self, message: Message) -> None:
        """Delete a message, as its author or a moderator does."""
        self.state.remove(message)

    def react(self, user: User, message: Message, emoji: str) -> None:
        if message.channel.archived:
            raise NotOffered("the thread is archived")
        add_reaction(self.state, message, emoji, user.id)

    # -- commands ------------------------------------------------------------------------------------------------

    def _commands(self) -> list[Wire]:
        return [*self.state.commands.get(self.state.guild, []), *self.state.commands.get(0, [])]

    async def slash(self, user: User, channel: Channel, name: str, /, **given: Any) -> Interaction:
        """Send a command, such as `rdev stop`, and wait until it is acknowledged or has `failed`.

        A value that is an Upload is attached.
        """
        return await self._taken(self._command(user, channel, name, given, kind=2))

    async def autocomplete(
        self, user: User, channel: Channel, name: str, focused: str, typed: str, /, **given: Any
    ) -> list[str]:
        """Type into an option, and see the values that are proposed."""
        interaction = self._command(user, channel, name, {**given, focused: typed}, kind=4, focused=focused)
        await self._taken(interaction)
        return [str(choice["value"]) for choice in interaction.choices]

    def _command(
        self, user: User, channel: Channel, name: str, given: dict[str, Any], *, kind: int, focused: str = ""
    ) -> Interaction:
        command, path = find(self._commands(), name)
        options = (path[-1] if path else command).get("options") or []
        resolved: Wire = {}
        for key, value in given.items():
            if isinstance(value, Upload):
                file = self.state.attach(channel, [value])[0]
                resolved[str(file.id)] = file.wire()
                given = {**given, key: str(file.id)}
        options_sent = fill(options, given, focused)
        if any(one["type"] == ATTACHMENT and one["value"] not in resolved for one in options_sent):
            raise NotOffered("this option takes a file")
        for step in reversed(path):
            options_sent = [{"name": step["name"], "type": step["type"], "options": options_sent}]
        data: Wire = {"id": command["id"], "name": command["name"], "type": 1, "options": options_sent}
        if resolved:
            data["resolved"] = {"attachments": resolved}
        return self._interact(user, channel, kind, data)

    async def message_command(self, user: User, message: Message, name: str) -> Interaction:
        """Choose an entry of a message's menu."""
        command, _ = find(self._commands(), name, 3)
        data = {"id": command["id"], "name": name, "type": 3, "target_id": str(message.id)}
        data |= {"resolved": {"messages": {str(message.id): message.wire()}}}
        return await self._taken(self._interact(user, message.channel, 2, data))

    # -- components ----------------------------------------------------------------------------------------------

    async def click(self, user: User, message: Message, button: str) -> Interaction:
        """Press a button, given by its custom_id or its label."""
        one = self._component(user, message, button)
        return await self._taken(self._interact(user, message.channel, 3, pressed(one), message))

    async def select(self, user: User, message: Message, select: str, values: Sequence[str]) -> Interaction:
        """Choose values, given as values or labels, in a select."""
        one = self._component(user, message, select)
        return await self._taken(
            self._interact(user, message.channel, 3, pressed(one) | {"values": chosen(one, values)}, message)
        )

    def _component(self, user: User, message: Message, wanted: str) -> Wire:
        if message.seen_only_by not in (0, user.id):
            raise NotOffered("this person does not see the message")
        for one in [*message.buttons, *message.selects]:
            if wanted in (one.get("custom_id"), one.get("label")) and "custom_id" in one:
                if one.get("disabled"):
                    raise NotOffered(f"{wanted!r} is disabled")
                return one
        raise NotOffered(f"the message shows no {wanted!r}")

    async def submit_modal(self, interaction: Interaction, values: dict[str, str | Sequence[str]]) -> Interaction:
        """Fill in the modal that answered an interaction, by custom_id, and send it."""
        modal = interaction.modal
        if modal is None:
            raise NotOffered("no modal was shown")
        fields = {one["custom_id"] for _, one in walk(modal["components"]) if "custom_id" in one}
        if unknown := set(values) - fields:
            raise NotOffered(f"the modal has no {sorted(unknown)}")
        filled_in = [filled(one, values) for one in modal["components"]]
        data = {"custom_id": modal["custom_id"], "components": filled_in}
        sent = self._interact(interaction.user, interaction.channel, 5, data, interaction.message)
        sent.trigger = interaction
        return await self._taken(sent)

    def _interact(
        self, user: User, channel: Channel, kind: int, data: Wire, message: Message | None = None
    ) -> Interaction:
        if channel.archived or channel.id not in self.state.channels:
            raise NotOffered("there are no commands in an archived thread")
        state = self.state
        interaction = Interaction(state.ids.next(), secrets.token_urlsafe(96), kind, user, channel, data, time.time())
        interaction.message = message
        state.interactions[interaction.token] = interaction
        self.shown.append(interaction)
        here, may = str(state.guild), str(state.allowed(channel, user))
        body: Wire = {"id": str(interaction.id), "application_id": str(state.bot.id), "type": kind, "data": data}
        body |= {"token": interaction.token, "version": 1, "channel_id": str(channel.id), "guild_id": here}
        body |= {"channel": channel.wire() | {"permissions": may}, "member": user.member() | {"permissions": may}}
        body |= {"guild": {"id": here, "features": [], "locale": "en-US"}, "guild_locale": "en-US", "locale": "en-US"}
        body |= {"app_permissions": str(state.allowed(channel)), "attachment_size_limit": FILE_BYTES, "context": 0}
        body |= {"entitlements": [], "entitlement_sku_ids": [], "authorizing_integration_owners": {"0": here}}
        if message is not None:
            body["message"] = message.wire()
        state.tell("INTERACTION_CREATE", body)
        return interaction

    async def _taken(self, interaction: Interaction) -> Interaction:
        with suppress(TimeoutError):
            await self.state.until(lambda: interaction.acknowledged, 3.05)
        return interaction

    async def answered(self, interaction: Interaction, timeout: float = 10) -> Message:
        """The answer as the person sees it, once it is more than "thinking"."""
        found: Message = await self.state.until(lambda: _visible(interaction), timeout)
        return found

    # -- the guild -----------------------------------------------------------------------------------------------

    def delete_thread(self, thread: Channel) -> None:
        self.state.delete(thread)

    def kick_bot(self) -> None:
        """Remove the bot from the guild: it is told, and sees nothing from then on."""
        self.state.tell("GUILD_DELETE", {"id": str(self.state.guild)})
        self.state.kicked = True

    def revoke(self, channel: Channel, *names: str) -> None:
        """Take permissions away from the bot in a channel and its threads."""
        self._overwrite(channel, sum(BITS[name] for name in names or BITS))

    def restore(self, channel: Channel) -> None:
        """Give the bot back what it may by default."""
        self._overwrite(channel, 0)

    def _overwrite(self, channel: Channel, denied: int) -> None:
        was = self.state.allowed(channel) & BITS["view_channel"]
        channel.overwrites[self.state.bot.id] = (0, denied)
        if was and denied & BITS["view_channel"]:
            self.state.emit("CHANNEL_DELETE", channel.wire())
        self.state.tell("CHANNEL_UPDATE" if was else "CHANNEL_CREATE", channel.wire(), channel)

    def expire(self, token: str) -> None:
        """Let the quarter of an hour pass in which an interaction's token is good."""
        self.state.interactions[token].created -= 900

    def age(self, message: Message, seconds: float) -> None:
        """Make a message older than it is."""
        message.created -= seconds


def _visible(interaction: Interaction) -> Message | None:
    response = interaction.response
    return response if response and not response.flags & LOADING else None
