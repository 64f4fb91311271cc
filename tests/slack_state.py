"""One Slack workspace as its people see it: users, channels, messages, files and views."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slack_pulse import Pulse

Json = dict[str, Any]

TEAM, APP, BOT, BOT_USER = "T0FAKE001", "A0FAKE001", "B0FAKE001", "U0FAKEBOT"


class Refused(Exception):
    """Slack's answer to a request it does not carry out: `ok: false` and this error."""

    def __init__(self, error: str, *messages: str) -> None:
        super().__init__(error)
        self.error = error
        self.messages = messages


@dataclass(slots=True)
class User:
    """A member of the workspace."""

    id: str
    name: str
    bot: bool = False


@dataclass(slots=True)
class Channel:
    """A conversation; `private` ones and DMs are unknown to who is not in them."""

    id: str
    name: str
    private: bool = False
    im: str = ""
    archived: bool = False
    members: set[str] = field(default_factory=set)
    messages: dict[str, Json] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "im" if self.im else "group" if self.private else "channel"

    def thread(self, root: str) -> list[Json]:
        """The root and its replies, oldest first."""
        return [m for ts, m in self.messages.items() if ts == root or m.get("thread_ts") == root]


@dataclass(slots=True)
class Upload:
    """A file, from the moment its upload address was given."""

    id: str
    name: str
    length: int
    user: str
    title: str = ""
    data: bytes | None = None
    shared: bool = False


@dataclass(slots=True)
class Shown:
    """A modal on someone's screen."""

    id: str
    user: str
    view: Json
    root: str


@dataclass(slots=True)
class Ephemeral:
    """A message that one person alone sees."""

    user: str
    channel: str
    message: Json


class Workspace:
    """All that a workspace holds; changed by the Web API on one side and by people on the other."""

    def __init__(self) -> None:
        self.users = {BOT_USER: User(BOT_USER, "rdev", bot=True)}
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, Upload] = {}
        self.ephemerals: list[Ephemeral] = []
        self.statuses: dict[tuple[str, str], Json] = {}
        self.screens: dict[str, list[Shown]] = {}
        self.base = ""
        self.pulse = Pulse()
        self._ids = random.Random(7)
        self._last = 0

    def id(self, letter: str) -> str:
        return f"{letter}{self._ids.randrange(16**10):010X}"

    def ts(self) -> str:
        """A timestamp that no other message has."""
        self._last = max(self._last + 1, int(time.time() * 1e6))
        return f"{self._last // 10**6}.{self._last % 10**6:06d}"

    def user(self, name: str) -> User:
        """The user of that id or name; a name that is new joins."""
        for user in self.users.values():
            if name in (user.id, user.name):
                return user
        user = User(self.id("U"), name)
        self.users[user.id] = user
        return user

    def channel(self, name: str, *, private: bool = False, invite_bot: bool = True) -> Channel:
        """The channel of that id or name; a name that is new is made, with the bot in it unless told."""
        for channel in self.channels.values():
            if name in (channel.id, channel.name):
                return channel
        channel = Channel(self.id("C"), name, private)
        if invite_bot:
            channel.members.add(BOT_USER)
        self.channels[channel.id] = channel
        return channel

    def direct(self, user: str) -> Channel:
        """The DM between that user and the bot."""
        who = self.user(user)
        for channel in self.channels.values():
            if channel.im == who.id:
                return channel
        channel = Channel(self.id("D"), f"dm-{who.name}", im=who.id, members={who.id, BOT_USER})
        self.channels[channel.id] = channel
        return channel

    def find(self, ts: str, channel: str = "") -> tuple[Channel, Json]:
        """The message of that timestamp, in that channel or in any."""
        for place in [self.channel(channel)] if channel else self.channels.values():
            if ts in place.messages:
                return place, place.messages[ts]
        raise LookupError(f"no message {ts}")

    def put(self, channel: Channel, message: Json) -> Json:
        """Add the message to the channel, and to the counts of its thread."""
        message["ts"] = self.ts()
        root = channel.messages.get(message.get("thread_ts") or "")
        channel.messages[message["ts"]] = message
        if root is not None:
            message["parent_user_id"] = root["user"]
            root["thread_ts"] = root["ts"]
            self.count(channel, root)
        return message

    def count(self, channel: Channel, root: Json) -> None:
        """Bring the thread's counters on its root up to date."""
        replies = [m for m in channel.thread(root["ts"]) if m is not root]
        root["reply_count"] = len(replies)
        root["latest_reply"] = replies[-1]["ts"] if replies else ""
        root["reply_users"] = list(dict.fromkeys(m["user"] for m in replies))
        root["reply_users_count"] = len(root["reply_users"])

    def remove(self, channel: Channel, ts: str) -> Json:
        """Take a message away; a root with replies leaves a tombstone."""
        message = channel.messages[ts]
        if message.get("reply_count"):
            keep = ("ts", "thread_ts", "reply_count", "reply_users", "reply_users_count", "latest_reply", "type")
            stone = {key: message[key] for key in keep if key in message}
            stone |= {"subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted.", "hidden": True}
            channel.messages[ts] = stone
        else:
            del channel.messages[ts]
            root = channel.messages.get(message.get("thread_ts") or "")
            if root is not None:
                self.count(channel, root)
        return message


def bot_message(text: str, blocks: list[Json] | None, thread: str | None) -> Json:
    """A message of the app, as Slack stores it."""
    text = escaped(text)
    profile = {"id": BOT, "app_id": APP, "name": "rdev", "icons": {}, "deleted": False, "updated": 0, "team_id": TEAM}
    message: Json = {"type": "message", "user": BOT_USER, "text": text, "team": TEAM, "bot_id": BOT, "app_id": APP}
    message |= {"bot_profile": profile, "blocks": blocks if blocks else rich(text)}
    if thread:
        message["thread_ts"] = thread
    return message


def rich(text: str) -> list[Json]:
    """The block that Slack makes of a bare text."""
    element = {"type": "rich_text_section", "elements": [{"type": "text", "text": plain(text)}]}
    return [{"type": "rich_text", "block_id": f"auto{len(text)}", "elements": [element]}]


def escaped(text: str) -> str:
    """Text as Slack stores it: what is not a control sequence or an entity is escaped."""
    text = re.sub(r"&(?!(amp|lt|gt);)", "&amp;", text)
    parts = re.split(r"(<(?:[@#!][^<>]+|(?:https?|mailto|tel):[^<>]+)>)", text)
    return "".join(p if i % 2 else p.replace("<", "&lt;").replace(">", "&gt;") for i, p in enumerate(parts))


def plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def pings(message: Json) -> list[str]:
    """Who or what the message would notify by name: `!channel`, `!here`, `@U…`."""
    found: list[str] = []
    for text in [message.get("text", ""), *(t for t in texts(message.get("blocks") or [], raw=True))]:
        found += re.findall(r"<([@!](?:channel|here|everyone|subteam\^\w+|[UW]\w+))[|>]", text)
    return sorted(set(found))


def seen(message: Json) -> str:
    """The message as a person reads it: its blocks, else its text; then its files' names."""
    lines = list(texts(message.get("blocks") or [])) or [plain(message.get("text", ""))]
    lines += [f"📎 {file['name']}" for file in message.get("files") or []]
    return "\n".join(lines)


def texts(node: Any, raw: bool = False) -> Iterator[str]:
    """Every text of the blocks in reading order; a button as [its label]; `raw` as sent, with controls."""
    if isinstance(node, list):
        for item in node:
            yield from texts(item, raw)
    elif isinstance(node, dict):
        if node.get("type") in ("button", "static_select", "multi_static_select", "overflow"):
            label = node.get("text") or node.get("placeholder") or {"text": "…"}
            yield f"[{label['text']}]"
            return
        for key in ("title", "label", "text", "fields", "elements", "element", "tasks", "details", "output", "rows"):
            value = node.get(key)
            if isinstance(value, str) and value:
                if raw and node.get("type") in ("plain_text", "text"):
                    continue  # Slack shows these as they are: nothing in them is a control sequence
                literal = raw or node.get("type") in ("plain_text", "text", "markdown", "markdown_text")
                yield value if literal else plain(value)
            elif value:
                yield from texts(value, raw)
