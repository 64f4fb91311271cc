"""What every part of the workspace's server shares: its state, its clock's settings, and the way to tell the app."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from slack_state import BOT, BOT_USER, Channel, Json, Refused, Workspace


@dataclass(slots=True)
class Trigger:
    """A person's act, which may open one modal for a short while."""

    user: str
    at: float
    used: bool = False
    screen: str = ""


@dataclass(slots=True)
class ResponseUrl:
    """An address that may answer one act: five times, for half an hour."""

    user: str
    channel: str
    ts: str
    at: float
    uses: int = 0
    thread: str = ""


@dataclass
class Hub:
    """The server's shared part; `emit` sends an event to the app in the background."""

    space: Workspace
    emit: Callable[[Json], None]
    stream_seconds: float = 306
    trigger_seconds: float = 3
    response_url_seconds: float = 1800
    breaches: list[str] = field(default_factory=list)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    response_urls: dict[str, ResponseUrl] = field(default_factory=dict)

    def trigger(self, user: str, screen: str = "") -> str:
        """A trigger_id for what that user did now, on the modal if there is one."""
        name = f"{int(time.time())}.{len(self.triggers)}.{self.space.id('')}"
        self.triggers[name] = Trigger(user, time.monotonic(), screen=screen)
        return name

    def exchange(self, trigger_id: str) -> Trigger:
        """Use the trigger; late, twice or unknown is refused."""
        trigger = self.triggers.get(trigger_id)
        if trigger is None:
            raise Refused("invalid_trigger_id")
        if time.monotonic() - trigger.at > self.trigger_seconds:
            raise Refused("expired_trigger_id")
        if trigger.used:
            raise Refused("exchanged_trigger_id")
        trigger.used = True
        return trigger

    def response_url(self, kind: str, user: str, channel: str, ts: str = "", thread: str = "") -> str:
        secret = self.space.id("R")
        self.response_urls[secret] = ResponseUrl(user, channel, ts, time.monotonic(), thread=thread)
        return f"{self.space.base}/{kind}/T0FAKE001/{secret}"

    def channel(self, name: str, *, post: bool = False, member: bool = False) -> Channel:
        """The channel as the app may use it; what it is not in, or may not write to, is refused."""
        channel = self.space.channels.get(name)
        if channel is None and post and name in self.space.users:
            channel = self.space.direct(name)
        if channel is None or (channel.private and BOT_USER not in channel.members):
            raise Refused("channel_not_found")
        if (post or member) and BOT_USER not in channel.members:
            raise Refused("not_in_channel")
        if post and channel.archived:
            raise Refused("is_archived")
        return channel

    def own(self, channel: Channel, ts: str, error: str) -> Json:
        """The app's own message of that timestamp; another's is refused with that error."""
        message = channel.messages.get(ts)
        if message is None or message.get("subtype") == "tombstone":
            raise Refused("message_not_found")
        if message.get("bot_id") != BOT:
            raise Refused(error)
        return message

    def streams(self, message: Json) -> bool:
        """Whether the message still takes more; one whose time is over is closed here."""
        stream = message.get("_stream")
        if stream and stream["open"] and time.monotonic() - stream["since"] > self.stream_seconds:
            end_stream(message)
        return bool(stream and stream["open"])

    def posted(self, channel: Channel, message: Json) -> None:
        """Tell the app of a new message."""
        self.emit({**wire(message), "channel": channel.id, "event_ts": message["ts"], "channel_type": channel.kind})

    def changed(self, channel: Channel, message: Json, before: Json) -> None:
        """Tell the app of an edit."""
        event = {"type": "message", "subtype": "message_changed", "message": wire(message), "hidden": True}
        event |= {"previous_message": wire(before), "channel": channel.id, "ts": self.space.ts()}
        self.emit({**event, "event_ts": event["ts"], "channel_type": channel.kind})

    def deleted(self, channel: Channel, message: Json) -> None:
        """Tell the app that a message is gone."""
        event = {"type": "message", "subtype": "message_deleted", "hidden": True, "deleted_ts": message["ts"]}
        event |= {"previous_message": wire(message), "channel": channel.id, "ts": self.space.ts()}
        self.emit({**event, "event_ts": event["ts"], "channel_type": channel.kind})


def end_stream(message: Json) -> None:
    message["_stream"]["open"] = False
    message["streaming_state"] = "completed"


def wire(message: Json, metadata: bool = False) -> Json:
    """The message as Slack sends it: nothing of ours, and metadata only where asked for."""
    hidden = {"_stream", "_own_blocks", "_values", *(() if metadata else ("metadata",))}
    return {key: value for key, value in message.items() if key not in hidden}
