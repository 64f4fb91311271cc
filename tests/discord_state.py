"""One guild as the server keeps it: people, channels, threads and messages, and what its changes emit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from discord_nouns import Attachment, Channel, Interaction, Message, Role, Upload, User
from discord_permissions import BITS, EVERYONE, permissions
from discord_refusals import Refusal, invalid
from discord_wire import EPHEMERAL, HAS_THREAD, Snowflakes, Wire, stamp

Emit = Callable[[str, Wire], None]


class State:
    """Everything that a person could see; `emit` is called with each gateway event."""

    def __init__(self) -> None:
        self.ids = Snowflakes()
        self.guild = self.ids.next()
        self.bot = User(self.ids.next(), "rdev", bot=True)
        self.users: dict[str, User] = {}
        self.roles = {self.guild: Role(self.guild, "@everyone", EVERYONE)}
        self.channels: dict[int, Channel] = {}
        self.hidden: dict[int, Message] = {}  # ephemeral messages
        self.interactions: dict[str, Interaction] = {}  # by token
        self.commands: dict[int, list[Wire]] = {}  # by guild, 0 for the global ones
        self.nonces: dict[tuple[int, str], Message] = {}  # by channel
        self.active_threads = 1000  # as many as may be open at once
        self.files: dict[int, Attachment] = {}
        self.kicked = False
        self.cdn = self.gateway = ""
        self.shards = 1
        self.emit: Emit = lambda _name, _data: None
        self._watchers: set[asyncio.Event] = set()
        self.owner = self.add_user("alice").id
        self.add_user("bob")

    def add_user(self, name: str, *roles: str) -> User:
        user = User(self.ids.next(), name, name.title())
        user.roles = [self.role(role).id for role in roles]
        self.users[name] = user
        return user

    def role(self, name: str) -> Role:
        """The role of that name, made when there is none."""
        for role in self.roles.values():
            if role.name == name:
                return role
        made = Role(self.ids.next(), name, 0)
        self.roles[made.id] = made
        return made

    def add_channel(self, name: str) -> Channel:
        channel = Channel(self.ids.next(), name, self.guild)
        self.channels[channel.id] = channel
        return channel

    # -- waiting -------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Wake everybody who waits for something to have become so."""
        for watcher in self._watchers:
            watcher.set()

    async def until(self, look: Callable[[], Any], timeout: float = 10) -> Any:
        """Wait until `look` finds something, and return it."""
        watcher = asyncio.Event()
        self._watchers.add(watcher)
        try:
            async with asyncio.timeout(timeout):
                while not (found := look()):
                    await watcher.wait()
                    watcher.clear()
            return found
        finally:
            self._watchers.discard(watcher)

    # -- looking things up ---------------------------------------------------------------------------------------

    def allowed(self, channel: Channel, user: User | None = None) -> int:
        if user is None and self.kicked:
            return 0
        return permissions(user or self.bot, channel, self.roles, self.owner)

    def channel(self, id_: str) -> Channel:
        channel = self.channels.get(int(id_))
        if channel is None:
            raise Refusal(404, 10003, "Unknown Channel")
        if not self.allowed(channel) & BITS["view_channel"]:
            raise Refusal(403, 50001, "Missing Access")
        return channel

    def message(self, channel: Channel, id_: str) -> Message:
        message = channel.messages.get(int(id_))
        if message is None:
            raise Refusal(404, 10008, "Unknown Message")
        return message

    def user(self, id_: int) -> User | None:
        return next((user for user in (self.bot, *self.users.values()) if user.id == id_), None)

    def threads(self, parent: Channel | None = None, *, archived: bool = False) -> list[Channel]:
        """The threads, newest first."""
        found = [one for one in self.channels.values() if one.parent and one.archived == archived]
        return sorted((one for one in found if parent in (None, one.parent)), key=lambda one: -one.id)

    # -- events --------------------------------------------------------------------------------------------------

    def tell(self, name: str, data: Wire, channel: Channel | None = None) -> None:
        """Emit an event, unless the bot cannot see the channel it is of."""
        if not self.kicked and (channel is None or self.allowed(channel) & BITS["view_channel"]):
            self.emit(name, data)
        self.changed()

    def tell_message(self, name: str, message: Message) -> None:
        data = message.wire() | {"guild_id": str(self.guild), "channel_type": 11 if message.channel.parent else 0}
        self.tell(name, data | {"member": message.author.member(user=False)}, message.channel)

    def guild_wire(self, *, members: bool) -> Wire:
        everyone = [self.bot, *self.users.values()]
        here = str(self.guild)
        body: Wire = {"id": here, "name": "Lab", "owner_id": str(self.owner), "unavailable": False, "large": False}
        body |= {"roles": [role.wire() for role in self.roles.values()], "member_count": len(everyone)}
        body |= {"members": [user.member() for user in (everyone if members else [self.bot])]}
        seen = [one for one in self.channels.values() if self.allowed(one) & BITS["view_channel"]]
        body |= {"channels": [one.wire() for one in seen if not one.parent]}
        body |= {"threads": [self.thread_wire(one) for one in seen if one.parent and not one.archived]}
        body |= {"joined_at": stamp(self.bot.joined), "region": "deprecated", "afk_timeout": 300, "mfa_level": 0}
        body |= {"verification_level": 0, "default_message_notifications": 1, "explicit_content_filter": 0}
        body |= {"system_channel_flags": 0, "premium_tier": 0, "nsfw_level": 0, "preferred_locale": "en-US"}
        body |= dict.fromkeys(("icon", "splash", "banner", "description", "application_id", "vanity_url_code"))
        body |= dict.fromkeys(("afk_channel_id", "system_channel_id", "rules_channel_id", "public_updates_channel_id"))
        lists = ("emojis", "features", "voice_states", "presences", "stage_instances", "guild_scheduled_events")
        body |= {name: [] for name in (*lists, "stickers", "soundboard_sounds")}
        return body

    def thread_wire(self, thread: Channel) -> Wire:
        """A thread with the bot's membership, when it has joined."""
        joined = self.bot.id in thread.members
        return thread.wire() | ({"member": thread.membership(self.bot.id)} if joined else {})

    # -- messages ------------------------------------------------------------------------------------------------

    def store(self, message: Message) -> Message:
        """Keep a new message and tell of it; one for a single person is told to nobody."""
        message.edits.append((message.created, message.text))
        if message.flags & EPHEMERAL:
            self.hidden[message.id] = message
            self.changed()
            return message
        channel = message.channel
        if channel.archived:
            self.archive(channel, archived=False)
        channel.messages[message.id] = message
        self.tell_message("MESSAGE_CREATE", message)
        return message

    def attach(self, channel: Channel, files: Sequence[Upload]) -> list[Attachment]:
        kept = []
        for file in files:
            id_ = self.ids.next()
            url = f"{self.cdn}/attachments/{channel.id}/{id_}/{file.name}"
            self.files[id_] = Attachment(id_, file.name, file.data, url, file.description, file.media_type)
            kept.append(self.files[id_])
        return kept

    def edited(self, message: Message) -> None:
        """Note an edit that has been made, and tell of it."""
        message.edited = time.time()
        message.edits.append((message.edited, message.text))
        if message.id in self.hidden:
            self.changed()
        else:
            self.tell_message("MESSAGE_UPDATE", message)

    def remove(self, message: Message) -> None:
        if self.hidden.pop(message.id, None) is None:
            del message.channel.messages[message.id]
            where = {"channel_id": str(message.channel.id), "guild_id": str(self.guild)}
            self.tell("MESSAGE_DELETE", {"id": str(message.id), **where}, message.channel)
        self.changed()

    # -- threads -------------------------------------------------------------------------------------------------

    def open_thread(self, parent: Channel, name: str, minutes: int, owner: User, root: Message | None) -> Channel:
        """Make a thread, from a message (whose id it takes) or without one."""
        if root is not None and (root.thread or root.id in self.channels):
            raise Refusal(400, 160004, "A thread has already been created for this message")
        if len(self.threads()) >= self.active_threads:
            raise Refusal(400, 160006, "Maximum number of active threads reached")
        if parent.parent is not None:
            raise invalid("type", "CHANNEL_TYPE_INVALID", "Invalid channel type")
        thread = Channel(root.id if root else self.ids.next(), name, self.guild, parent, owner.id, minutes)
        thread.members.append(owner.id)
        self.channels[thread.id] = thread
        added: Wire = {"newly_created": True}
        if owner is self.bot:
            added |= {"member": thread.membership(owner.id)}
        self.tell("THREAD_CREATE", thread.wire() | added, thread)
        self.join(thread, owner, known=True)
        where = {"guild_id": str(self.guild), "channel_id": str(parent.id)}
        if root is not None:
            root.thread, root.flags = thread, root.flags | HAS_THREAD
            self.tell_message("MESSAGE_UPDATE", root)
            starter = Message(self.ids.next(), thread, owner, kind=21, referenced=root)
            starter.reference = {**where, "message_id": str(root.id), "type": 0}
            self.store(starter)
        else:
            note = Message(self.ids.next(), parent, owner, name, kind=18)
            note.reference = {**where, "channel_id": str(thread.id), "type": 0}
            self.store(note)
        return thread

    def join(self, thread: Channel, user: User, *, known: bool = False) -> None:
        if user.id in thread.members and not known:
            return
        if user.id not in thread.members:
            thread.members.append(user.id)
        added = [{**thread.membership(user.id), "member": user.member(), "presence": None}]
        body = {"id": str(thread.id), "guild_id": str(self.guild), "member_count": len(thread.members)}
        self.tell("THREAD_MEMBERS_UPDATE", {**body, "added_members": added}, thread)

    def archive(self, thread: Channel, *, archived: bool = True, locked: bool | None = None) -> None:
        thread.archived, thread.archive_changed = archived, time.time()
        thread.locked = thread.locked if locked is None else locked
        self.tell("THREAD_UPDATE", thread.wire(), thread)

    def delete(self, channel: Channel) -> None:
        """Delete a channel with its threads, or a thread."""
        for thread in [one for one in self.channels.values() if one.parent is channel]:
            self.delete(thread)
        data = channel.wire()
        if channel.parent:
            data = {key: data[key] for key in ("id", "guild_id", "parent_id", "type")}
        self.tell("THREAD_DELETE" if channel.parent else "CHANNEL_DELETE", data, channel)
        del self.channels[channel.id]
