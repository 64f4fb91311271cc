"""chat.startStream, appendStream and stopStream: a message that grows, for a few minutes at most."""

from __future__ import annotations

import time
from typing import Any

from slack_blocks import BLOCKS, MARKDOWN, check_blocks, check_metadata
from slack_chat import clear_status, thread_of
from slack_hub import Hub, end_stream, wire
from slack_state import Channel, Json, Refused, bot_message, escaped

WORDS = 256
"""Characters of a task's title, details or output in one chunk."""
STATUSES = ("pending", "in_progress", "complete", "error")


def start(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"], post=True)
    if not args.get("thread_ts"):
        raise Refused("invalid_arguments", "[ERROR] missing required field: thread_ts")
    if not channel.im:
        for key in ("recipient_team_id", "recipient_user_id"):
            if not args.get(key):
                raise Refused(f"missing_{key}")
        if args["recipient_user_id"] not in hub.space.users:
            raise Refused("user_not_found")
    thread = thread_of(channel, args["thread_ts"])
    message = bot_message("", [], thread)
    message["_stream"] = {"open": True, "since": time.monotonic(), "stopped": False, "tasks": {}, "plan": ""}
    message["_stream"]["display"] = args.get("task_display_mode", "timeline")
    message |= {"_own_blocks": True, "blocks": [], "streaming_state": "in_progress"}
    pieces = chunks_of(args, needed=False)
    one_mode(message, args)
    fits(message, pieces)
    hub.space.put(channel, message)
    grow(message, pieces)
    clear_status(hub, channel.id, thread)
    hub.posted(channel, message)
    return {"channel": channel.id, "ts": message["ts"]}


def append(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel, message = streaming(hub, args)
    pieces = chunks_of(args)
    one_mode(message, args)
    fits(message, pieces)
    grow(message, pieces)
    return {"channel": channel.id, "ts": message["ts"]}


def stop(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel, message = streaming(hub, args)
    pieces = chunks_of(args, needed=False)
    bottom = check_blocks(args.get("blocks") or [], too_many="msg_blocks_too_many")
    metadata = check_metadata(args.get("metadata"))
    one_mode(message, args)
    fits(message, pieces)
    before = dict(message)
    grow(message, pieces)
    message["blocks"] = [*message["blocks"], *bottom]
    if metadata:
        message["metadata"] = metadata
    end_stream(message)
    hub.changed(channel, message, before)
    return {"channel": channel.id, "ts": message["ts"], "message": wire(message)}


def streaming(hub: Hub, args: Json) -> tuple[Channel, Json]:
    """The message of the stream that still runs; what stopped, by whomever, is refused."""
    channel = hub.channel(args["channel"], post=True)
    message = hub.own(channel, args["ts"], "message_not_owned_by_app")
    stream = message.get("_stream")
    if stream and stream["stopped"]:
        raise Refused("stopped_by_user")
    if not hub.streams(message):
        raise Refused("message_not_in_streaming_state")
    return channel, message


def stopped_by(hub: Hub, channel: Channel, message: Json, user: str) -> None:
    """A person pressed stop: the stream takes no more, and the app is told."""
    end_stream(message)
    message["_stream"]["stopped"] = True
    event = {"type": "message_stream_stopped", "channel": channel.id, "ts": message["ts"], "user": user}
    hub.emit({**event, "thread_ts": message.get("thread_ts"), "event_ts": hub.space.ts()})


def chunks_of(args: Json, needed: bool = True) -> list[Json]:
    """The checked pieces of a call, markdown_text as the first of them."""
    pieces = args.get("chunks") or []
    if not isinstance(pieces, list):
        raise Refused("invalid_chunks")
    if args.get("markdown_text"):
        if pieces:
            raise Refused("cannot_provide_both_markdown_text_and_chunks")
        pieces = [{"type": "markdown_text", "text": args["markdown_text"]}]
    if needed and not pieces:
        raise Refused("no_text")
    for piece in pieces:
        if not isinstance(piece, dict) or not sound(piece):
            raise Refused("invalid_chunks")
    if sum(len(piece["text"]) for piece in pieces if piece["type"] == "markdown_text") > MARKDOWN:
        raise Refused("msg_too_long")
    blocks = [block for piece in pieces if piece["type"] == "blocks" for block in piece["blocks"]]
    check_blocks(blocks, too_many="msg_blocks_too_many")
    return pieces


def one_mode(message: Json, args: Json) -> None:
    """A stream stays with what it began with: markdown_text or chunks."""
    mode = "text" if args.get("markdown_text") else "chunks" if args.get("chunks") else ""
    if mode and message["_stream"].setdefault("mode", mode) != mode:
        raise Refused("streaming_mode_mismatch")


def sound(piece: Any) -> bool:
    match piece:
        case {"type": "markdown_text", "text": str(text)}:
            return bool(text)
        case {"type": "task_update", "id": str(task), "title": str(title), "status": status}:
            words = [title, *(piece.get(key) or "" for key in ("details", "output"))]
            short = all(isinstance(word, str) and len(word) <= WORDS for word in words)
            return bool(task and title) and status in STATUSES and short
        case {"type": "plan_update", "title": str(title)}:
            return bool(title)
        case {"type": "blocks", "blocks": list(_)}:
            return True
        case _:
            return False


def grow(message: Json, pieces: list[Json]) -> None:
    """Show the pieces: text is joined on, a task is shown once and then changed in place."""
    stream = message["_stream"]
    for piece in pieces:
        match piece["type"]:
            case "markdown_text":
                write(message, piece["text"])
            case "plan_update":
                stream["plan"] = piece["title"]
            case "blocks":
                message["blocks"] = [*message["blocks"], *piece["blocks"]]
            case _:
                task(message, {key: value for key, value in piece.items() if key != "type"})


def fits(message: Json, pieces: list[Json]) -> None:
    """Refuse what would make the message longer than one message may be; nothing of it is shown then."""
    length = len(message["_stream"].get("written", "")) + sum(len(p["text"]) for p in pieces if "text" in p)
    if length > MARKDOWN:  # what one call takes is also all that one stream takes
        raise Refused("msg_too_long")
    if len(message["blocks"]) + len(pieces) > 2 * BLOCKS:
        raise Refused("msg_blocks_too_many")


def write(message: Json, text: str) -> None:
    stream = message["_stream"]
    stream["written"] = stream.get("written", "") + text
    message["text"] = escaped(stream["written"])
    last = message["blocks"][-1] if message["blocks"] else {}
    if last.get("type") == "markdown":
        message["blocks"] = [*message["blocks"][:-1], {"type": "markdown", "text": last["text"] + text}]
    else:
        message["blocks"] = [*message["blocks"], {"type": "markdown", "text": text}]


def task(message: Json, update: Json) -> None:
    stream = message["_stream"]
    known = stream["tasks"].setdefault(update["id"], {"type": "task_card", "task_id": update["id"]})
    # Details and output of one task are added to what it showed; the rest replaces it.
    for key in ("details", "output"):
        if update.get(key):
            known[key] = known.get(key, "") + update[key]
    known |= {key: update[key] for key in ("title", "status", "sources") if key in update}
    if not any(block is known for block in message["blocks"]):
        message["blocks"] = [*message["blocks"], known]


METHODS = {"chat.startStream": start, "chat.appendStream": append, "chat.stopStream": stop}
