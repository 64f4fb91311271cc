"""The nouns of the Discord on loopback, and how each looks on the wire."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from discord_wire import SILENT, V2, Wire, stamp, walk

_USER: Wire = {"discriminator": "0", "avatar": None, "public_flags": 0, "flags": 0, "primary_guild": None}
_USER |= {"avatar_decoration_data": None, "collectibles": None, "banner": None, "accent_color": None}
_MEMBER: Wire = {"nick": None, "avatar": None, "banner": None, "premium_since": None, "deaf": False, "mute": False}
_MEMBER |= {"flags": 0, "pending": False, "communication_disabled_until": None, "collectibles": None}


@dataclass
class User:
    """A person or a bot, and its membership of the one guild."""

    id: int
    name: str
    display: str | None = None
    bot: bool = False
    roles: list[int] = field(default_factory=list)
    joined: float = field(default_factory=time.time)

    def wire(self) -> Wire:
        bot = {"bot": True} if self.bot else {}
        return {"id": str(self.id), "username": self.name, "global_name": self.display, **_USER, **bot}

    def member(self, *, user: bool = True) -> Wire:
        own = {"roles": [str(role) for role in self.roles], "joined_at": stamp(self.joined)}
        return {**_MEMBER, **own} | ({"user": self.wire()} if user else {})


@dataclass
class Role:
    """A role and its permission bits; the role named @everyone has the guild's id."""

    id: int
    name: str
    permissions: int

    def wire(self) -> Wire:
        colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
        plain = {"description": None, "position": 0, "color": 0, "colors": colors, "hoist": False, "managed": False}
        plain |= {"mentionable": False, "icon": None, "unicode_emoji": None, "flags": 0}
        return {"id": str(self.id), "name": self.name, "permissions": str(self.permissions), **plain}


@dataclass(frozen=True)
class Upload:
    """A file as somebody hands it in."""

    name: str
    data: bytes
    description: str | None = None
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Attachment:
    """A file as Discord keeps it."""

    id: int
    name: str
    data: bytes
    url: str
    description: str | None
    media_type: str

    def wire(self) -> Wire:
        told = {"description": self.description} if self.description is not None else {}
        places = {"url": self.url, "proxy_url": self.url, "content_type": self.media_type}
        return {"id": str(self.id), "filename": self.name, "size": len(self.data), **places, **told}


@dataclass
class Channel:
    """A text channel, or a public thread when it has a parent."""

    id: int
    name: str
    guild: int
    parent: Channel | None = None
    owner: int = 0
    archive_minutes: int = 1440
    archived: bool = False
    locked: bool = False
    created: float = field(default_factory=time.time)
    archive_changed: float = field(default_factory=time.time)
    slowmode: int = 0
    members: list[int] = field(default_factory=list)
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)  # who → allowed bits, denied bits
    messages: dict[int, Message] = field(default_factory=dict)

    def wire(self) -> Wire:
        last = str(max(self.messages)) if self.messages else None
        both: Wire = {"id": str(self.id), "guild_id": str(self.guild), "name": self.name, "last_message_id": last}
        both |= {"rate_limit_per_user": self.slowmode, "flags": 0}
        if self.parent is None:
            rules = [
                {"id": str(who), "type": 1, "allow": str(allow), "deny": str(deny)}
                for who, (allow, deny) in self.overwrites.items()
            ]
            own: Wire = {"type": 0, "position": 0, "permission_overwrites": rules, "nsfw": False, "topic": None}
            return both | own | {"parent_id": None}
        count = len(self.messages)
        own = {"type": 11, "parent_id": str(self.parent.id), "owner_id": str(self.owner), "message_count": count}
        own |= {"member_count": len(self.members), "total_message_sent": count, "thread_metadata": self._metadata()}
        return both | own

    def _metadata(self) -> Wire:
        times = {"archive_timestamp": stamp(self.archive_changed), "create_timestamp": stamp(self.created)}
        state = {"archived": self.archived, "locked": self.locked}
        return {**state, "auto_archive_duration": self.archive_minutes, **times}

    def membership(self, user: int) -> Wire:
        return {"id": str(self.id), "user_id": str(user), "join_timestamp": stamp(self.created), "flags": 0}


@dataclass
class Message:
    """A message as the server keeps it; `text`, `buttons` and `files` are what a person sees of it."""

    id: int
    channel: Channel
    author: User
    content: str = ""
    kind: int = 0
    flags: int = 0
    created: float = field(default_factory=time.time)
    edited: float | None = None
    embeds: list[Wire] = field(default_factory=list)
    components: list[Wire] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    mentions: list[User] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    reactions: dict[str, list[int]] = field(default_factory=dict)
    nonce: str | int | None = None
    reference: Wire | None = None
    referenced: Message | None = None
    interaction: Interaction | None = None
    thread: Channel | None = None
    edits: list[tuple[float, str]] = field(default_factory=list)  # when, and the text it then showed
    seen_only_by: int = 0

    @property
    def text(self) -> str:
        """The words a person reads, of content and components alike."""
        words = [self.content, *(str(one["content"]) for _, one in walk(self.components) if one["type"] == 10)]
        return "\n".join(word for word in words if word)

    @property
    def buttons(self) -> list[Wire]:
        return [one for _, one in walk(self.components) if one["type"] == 2]

    @property
    def selects(self) -> list[Wire]:
        return [one for _, one in walk(self.components) if one["type"] in (3, 5, 6, 7, 8)]

    @property
    def files(self) -> list[Attachment]:
        """The files a person sees: a message of components shows only those that a component names."""
        if not self.flags & V2:
            return list(self.attachments)
        media = [one.get("file") or one.get("media") or {} for _, one in walk(self.components)]
        media += [item["media"] for _, one in walk(self.components) for item in one.get("items", ())]
        shown = {str(one.get("url")) for one in media}
        return [file for file in self.attachments if file.url in shown]

    @property
    def silent(self) -> bool:
        return bool(self.flags & SILENT)

    def wire(self) -> Wire:
        edited = stamp(self.edited) if self.edited else None
        body: Wire = {"id": str(self.id), "channel_id": str(self.channel.id), "author": self.author.wire()}
        body |= {"content": self.content, "timestamp": stamp(self.created), "edited_timestamp": edited, "tts": False}
        body |= {"mention_everyone": self.mention_everyone, "mention_roles": [str(role) for role in self.mention_roles]}
        body |= {"mentions": [user.wire() for user in self.mentions], "embeds": self.embeds, "pinned": False}
        body |= {"attachments": [file.wire() for file in self.attachments], "type": self.kind, "flags": self.flags}
        body |= {"components": self.components} | self._rest()
        return body

    def _rest(self) -> Wire:
        body: Wire = {}
        if self.nonce is not None:
            body["nonce"] = self.nonce
        if self.reference:
            body["message_reference"] = self.reference
            body["referenced_message"] = self.referenced.wire() if self.referenced else None
        if self.interaction:
            application = str(self.author.id)
            body |= {"application_id": application, "webhook_id": application}
            body["interaction_metadata"] = self.interaction.metadata()
        if self.thread:
            body["thread"] = self.thread.wire()
        if self.reactions:
            body["reactions"] = [_reaction(emoji, who, self.author) for emoji, who in self.reactions.items()]
        return body


def _reaction(emoji: str, who: Sequence[int], bot: User) -> Wire:
    counts = {"burst": 0, "normal": len(who)}
    mine = {"me": bot.bot and bot.id in who, "me_burst": False, "burst_colors": [], "count_details": counts}
    return {"count": len(who), "emoji": {"id": None, "name": emoji}, **mine}


@dataclass
class Interaction:
    """Something a person did that the application has to answer, and the answers it gave."""

    id: int
    token: str
    kind: int  # 2 command, 3 component, 4 autocomplete, 5 modal
    user: User
    channel: Channel
    data: Wire
    created: float
    message: Message | None = None
    trigger: Interaction | None = None  # what showed the modal that this one sends
    acknowledged: int = 0  # the type of the callback
    ack_after: float = -1.0  # seconds
    response: Message | None = None
    followups: list[Message] = field(default_factory=list)
    choices: list[Wire] = field(default_factory=list)
    modal: Wire | None = None

    @property
    def failed(self) -> bool:
        """The person reads "the application did not respond"."""
        return not self.acknowledged and time.time() - self.created > 3.0

    def metadata(self) -> Wire:
        """What a message says of the interaction it answers."""
        told = {"id": str(self.id), "type": self.kind, "user": self.user.wire()}
        named: Wire = {"name": self.data["name"], "command_type": self.data["type"]} if "name" in self.data else {}
        if self.kind == 3 and self.message:
            named["interacted_message_id"] = str(self.message.id)
        if self.trigger:
            named["triggering_interaction_metadata"] = self.trigger.metadata()
        return {**told, "authorizing_integration_owners": {"0": str(self.channel.guild)}, **named}
