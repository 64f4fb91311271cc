"""chat.* without streams: post, update, delete, ephemeral."""

from __future__ import annotations

from typing import Any

from slack_blocks import MARKDOWN, TEXT, UPDATE_TEXT, check_blocks, check_metadata
from slack_hub import Hub, wire
from slack_state import BOT_USER, Channel, Ephemeral, Json, Refused, bot_message


def content(args: Json, markdown_at: int = MARKDOWN) -> tuple[str | None, list[Json] | None]:
    """The text and blocks to show, from text, blocks and markdown_text; None where not given."""
    text, blocks, markdown = args.get("text"), args.get("blocks"), args.get("markdown_text")
    if markdown is not None:
        if text is not None or blocks is not None:
            raise Refused("markdown_text_conflict")
        if len(markdown) > markdown_at:
            raise Refused("msg_too_long")
        if not markdown:
            raise Refused("no_text")
        return markdown, [{"type": "markdown", "text": markdown}]
    if not text and not blocks and blocks != []:
        raise Refused("no_text")
    return text, None if blocks is None else check_blocks(blocks)


def truncated(text: str, warnings: list[str]) -> str:
    if len(text) > TEXT:
        warnings.append("message_truncated")
    return text[:TEXT]


def thread_of(channel: Channel, ts: Any) -> str | None:
    """The root of the thread to reply in; a reply's own timestamp leads to its root."""
    if not ts:
        return None
    message = channel.messages.get(str(ts))
    if message is None:
        raise Refused("thread_not_found")
    if message.get("subtype") == "tombstone" and not message.get("reply_count"):
        raise Refused("cannot_reply_to_message")
    return str(message.get("thread_ts") or ts)


def post_message(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"], post=True)
    text, blocks = content(args)
    thread = thread_of(channel, args.get("thread_ts"))
    if blocks == [] and not text:
        raise Refused("no_text")
    message = bot_message(truncated(text or "", warnings), blocks, thread)
    message["_own_blocks"] = bool(blocks)
    metadata = check_metadata(args.get("metadata"))
    if metadata:
        message["metadata"] = metadata
    if args.get("reply_broadcast") and thread:
        message["subtype"] = "thread_broadcast"
    hub.space.put(channel, message)
    clear_status(hub, channel.id, thread)
    hub.posted(channel, message)
    return {"channel": channel.id, "ts": message["ts"], "message": wire(message, metadata=True)}


def clear_status(hub: Hub, channel: str, thread: str | None) -> None:
    hub.space.statuses.pop((channel, thread or ""), None)


def update(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"])
    message = hub.own(channel, args["ts"], "cant_update_message")
    if channel.archived:
        raise Refused("is_inactive")
    if hub.streams(message):
        raise Refused("streaming_state_conflict")
    text, blocks = content(args)
    if args.get("markdown_text") is None and text is not None and len(text) > UPDATE_TEXT:
        raise Refused("msg_too_long")
    if text is not None and blocks is None and message.get("_own_blocks"):
        hub.breaches.append("chat.update: text without blocks on a message with blocks: keeps them or not, by the docs")
    metadata = check_metadata(args.get("metadata"))
    before = dict(message)
    fresh = bot_message(text if text is not None else message["text"], blocks, None)
    message["text"] = fresh["text"]
    if blocks is not None or not message.get("_own_blocks"):
        message["blocks"], message["_own_blocks"] = fresh["blocks"], bool(blocks)
    if metadata is not None:
        message["metadata"] = metadata
        if not metadata:
            del message["metadata"]
    message["edited"] = {"user": BOT_USER, "ts": hub.space.ts()}
    hub.changed(channel, message, before)
    return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": wire(message)}


def delete(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"])
    hub.own(channel, args["ts"], "cant_delete_message")
    hub.deleted(channel, hub.space.remove(channel, args["ts"]))
    return {"channel": channel.id, "ts": args["ts"]}


def post_ephemeral(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"], post=True)
    if args["user"] not in hub.space.users or args["user"] not in channel.members:
        raise Refused("user_not_in_channel")
    text, blocks = content(args)
    if len(text or "") > TEXT:
        raise Refused("msg_too_long")
    message = bot_message(text or "", blocks, thread_of(channel, args.get("thread_ts")))
    message["ts"] = hub.space.ts()
    hub.space.ephemerals.append(Ephemeral(args["user"], channel.id, message))
    return {"message_ts": message["ts"]}


def permalink(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"])
    if args["message_ts"] not in channel.messages:
        raise Refused("message_not_found")
    name = args["message_ts"].replace(".", "")
    return {"channel": channel.id, "permalink": f"{hub.space.base}/archives/{channel.id}/p{name}"}


METHODS = {
    "chat.getPermalink": permalink,
    "chat.postMessage": post_message,
    "chat.update": update,
    "chat.delete": delete,
    "chat.postEphemeral": post_ephemeral,
}
