"""Answers to a person's act: the payload of an acknowledgement, and response_url."""

from __future__ import annotations

import time
from typing import Any

from slack_blocks import TEXT, check_blocks
from slack_chat import thread_of
from slack_hub import Hub, ResponseUrl
from slack_state import Ephemeral, Json, Refused, bot_message

USES = 5


def answer_url(hub: Hub, secret: str, body: Json) -> None:
    """One use of a response_url."""
    url = hub.response_urls.get(secret)
    if url is None:
        raise Refused("invalid_url")
    if time.monotonic() - url.at > hub.response_url_seconds:
        raise Refused("expired_url")
    if url.uses >= USES:
        hub.breaches.append("response_url: used more than 5 times")
        raise Refused("used_url")
    url.uses += 1
    show(hub, url, body)


def show(hub: Hub, url: ResponseUrl, body: Any) -> None:
    """Show the answer where the person acted: to them alone unless it says in_channel."""
    if not isinstance(body, dict) or not (body.get("text") or body.get("blocks") or body.get("delete_original")):
        raise Refused("no_text")
    channel = hub.space.channels[url.channel]
    original = channel.messages.get(url.ts)
    if body.get("delete_original") and original is not None:
        hub.deleted(channel, hub.space.remove(channel, url.ts))
        return
    blocks = check_blocks(body["blocks"]) if body.get("blocks") else None
    if len(body.get("text") or "") > TEXT:
        raise Refused("msg_too_long")
    thread = thread_of(channel, body.get("thread_ts"))
    message = bot_message(body.get("text") or "", blocks, thread)
    if body.get("replace_original") and original is not None:
        before = dict(original)
        original |= {"text": message["text"], "blocks": message["blocks"], "_own_blocks": bool(blocks)}
        hub.changed(channel, original, before)
    elif body.get("response_type") == "in_channel":
        message["_own_blocks"] = bool(blocks)
        hub.posted(channel, hub.space.put(channel, message))
    else:
        message["ts"] = hub.space.ts()
        hub.space.ephemerals.append(Ephemeral(url.user, url.channel, message))
