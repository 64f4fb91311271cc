"""Turns the body of a request into a message, or changes one by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from discord_nouns import Attachment, Channel, Message, Upload, User
from discord_permissions import BITS
from discord_refusals import Refusal, check_message, invalid
from discord_state import State
from discord_wire import EPHEMERAL, LOADING, SILENT, V2, Wire, walk

SETTABLE = SILENT | V2 | EPHEMERAL | 1 << 2  # the last hides embeds


def compose(
    state: State, channel: Channel, author: User, body: Wire, files: Sequence[Upload], *, prefix: str = ""
) -> Message:
    """A new message of this body, checked but not yet stored."""
    check_message(body, files, prefix=prefix)
    message = Message(state.ids.next(), channel, author)
    message.flags = int(body.get("flags") or 0) & SETTABLE
    message.nonce = body.get("nonce")
    message.content = (body.get("content") or "").strip()
    message.embeds = [{"type": "rich", **embed} for embed in body.get("embeds") or []]
    message.attachments = state.attach(channel, _described(body, files))
    message.components = _kept(body.get("components") or [], message.attachments)
    mark_mentions(state, message, body.get("allowed_mentions"))
    return message


def rewrite(state: State, message: Message, body: Wire, files: Sequence[Upload], *, prefix: str = "") -> None:
    """Change a message by an edit's body: what the body does not name stays."""
    check_message(body, files, message, prefix=prefix)
    attachments = _after(state, message, body, files)
    components = message.components
    if body.get("components") is not None:
        components = _kept(body["components"], attachments)
    content = (body.get("content") or "").strip() if "content" in body else message.content
    embeds = body.get("embeds") or [] if "embeds" in body else message.embeds
    if not (content or embeds or components or attachments):
        raise Refusal(400, 50006, "Cannot send an empty message")
    message.content, message.embeds, message.components = content, embeds, components
    message.attachments = attachments
    message.flags = (message.flags | int(body.get("flags") or 0) & V2) & ~LOADING
    mark_mentions(state, message, body.get("allowed_mentions"))
    state.edited(message)


def _after(state: State, message: Message, body: Wire, files: Sequence[Upload]) -> list[Attachment]:
    """The attachments that an edit leaves: all of them, or those it names, and the new ones."""
    kept = message.attachments
    if body.get("attachments") is not None:
        named = {int(one["id"]) for one in body["attachments"]}
        kept = [one for one in kept if one.id in named]
    every = [*kept, *state.attach(message.channel, _described(body, files))]
    if len(every) > 10:
        raise Refusal(400, 30015, "Maximum number of attachments in a message reached (10)")
    return every


def _described(body: Wire, files: Sequence[Upload]) -> list[Upload]:
    """The files under the names and descriptions that `attachments` gives them."""
    told = {int(one["id"]): one for one in body.get("attachments") or []}
    described = []
    for index, file in enumerate(files):
        one = told.get(index, {})
        name = one.get("filename") or file.name
        described.append(Upload(name, file.data, one.get("description"), file.media_type))
    return described


def _kept(components: Sequence[Wire], files: Sequence[Attachment]) -> list[Wire]:
    """The components with an id each, and media that point at the uploaded files."""
    kept = deepcopy(list(components))
    by_name = {f"attachment://{file.name}": file for file in files} | {file.url: file for file in files}
    for number, (path, one) in enumerate(walk(kept), start=1):
        one.setdefault("id", number)
        if one["type"] == 2 and one.get("style") != 5:
            one.setdefault("disabled", False)
        media = [one[key] for key in ("file", "media") if isinstance(one.get(key), dict)]
        for place in [*media, *(item["media"] for item in one.get("items", ()))]:
            _resolve(path, place, by_name)
        if one["type"] == 13:
            file = by_name[one["file"]["url"]]
            one |= {"name": file.name, "size": len(file.data)}
    return kept


def _resolve(path: str, media: Wire, by_name: dict[str, Attachment]) -> None:
    file = by_name.get(media["url"])
    if file is not None:
        media |= {"url": file.url, "proxy_url": file.url, "attachment_id": str(file.id)}
        media |= {
            "content_type": file.media_type,
            "width": None,
            "height": None,
            "loading_state": 0,
            "id": str(file.id),
        }
    elif not media["url"].startswith("http"):
        code = "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND"
        raise invalid(path, code, f"The referenced attachment was not found: {media['url']}")


def mark_mentions(state: State, message: Message, allowed: dict[str, Any] | None) -> None:
    """Whom the text notifies, as far as `allowed_mentions` and the author's permissions let it."""
    kinds = {"users", "roles", "everyone"} if allowed is None else set(allowed.get("parse") or ())
    listed = {int(one) for key in ("users", "roles") for one in (allowed or {}).get(key) or ()}
    people = {int(one) for one in re.findall(r"<@!?(\d+)>", message.text)}
    roles = {int(one) for one in re.findall(r"<@&(\d+)>", message.text)}
    found = [state.user(one) for one in people if "users" in kinds or one in listed]
    message.mentions = [user for user in found if user]
    message.mention_roles = [one for one in roles if one in state.roles and ("roles" in kinds or one in listed)]
    called = re.search(r"@(everyone|here)\b", message.text) and "everyone" in kinds
    may = state.allowed(message.channel, message.author) & BITS["mention_everyone"]
    message.mention_everyone = bool(called and may)
