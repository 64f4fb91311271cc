"""The routes of channels, messages, threads and reactions."""

from __future__ import annotations

import time

from discord_nouns import Channel, Message
from discord_permissions import BITS, demand
from discord_posting import compose, rewrite
from discord_refusals import Refusal, invalid
from discord_rest import Handler, Request
from discord_state import State
from discord_wire import EPHEMERAL, Wire

OLD = 3600.0  # seconds after which edits of a message are counted
OLD_EDITS = 5
NONCE_SECONDS = 180.0  # Discord speaks of "the past few minutes"


def _channel(state: State, request: Request, *needs: str) -> Channel:
    channel = state.channel(request.ids["channel_id"])
    demand(state.allowed(channel), *needs)
    return channel


def _message(state: State, request: Request, *needs: str) -> Message:
    return state.message(_channel(state, request, *needs), request.ids["message_id"])


def get_channel(state: State, request: Request) -> Wire:
    return _channel(state, request).wire()


def post_message(state: State, request: Request) -> Wire:
    channel, body = _channel(state, request), request.body
    demand(state.allowed(channel), "send_messages_in_threads" if channel.parent else "send_messages")
    if request.files:
        demand(state.allowed(channel), "attach_files")
    if channel.locked and not state.allowed(channel) & BITS["manage_threads"]:
        raise Refusal(400, 50083, "Thread is archived")
    nonce = str(body["nonce"]) if body.get("nonce") and body.get("enforce_nonce") else ""
    same = state.nonces.get((channel.id, nonce)) if nonce else None
    if same is not None and time.time() - same.created < NONCE_SECONDS:
        return same.wire()
    message = compose(state, channel, state.bot, body, request.files)
    message.flags &= ~EPHEMERAL
    if reference := body.get("message_reference"):
        _refer(state, message, reference)
    if nonce:
        state.nonces[channel.id, nonce] = message
    return state.store(message).wire()


def _refer(state: State, message: Message, reference: Wire) -> None:
    demand(state.allowed(message.channel), "read_message_history")
    target = message.channel.messages.get(int(reference["message_id"]))
    if target is None and reference.get("fail_if_not_exists", True):
        raise invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    if target is not None:
        where = {"channel_id": str(message.channel.id), "guild_id": str(state.guild)}
        message.kind, message.referenced = 19, target
        message.reference = {"type": 0, "message_id": str(target.id), **where}


def patch_message(state: State, request: Request) -> Wire:
    message = _message(state, request)
    if message.author is not state.bot:
        raise Refusal(403, 50005, "Cannot edit a message authored by another user")
    if message.channel.archived:
        raise Refusal(400, 50083, "Thread is archived")
    if message.kind not in (0, 19, 20, 23):
        raise Refusal(403, 50021, "Cannot execute action on a system message")
    late = [when for when, _ in message.edits[1:] if when - message.created > OLD]
    if len(late) >= OLD_EDITS:
        words = "Maximum number of edits to messages older than 1 hour reached. Try again later"
        raise Refusal(429, 30046, words)
    rewrite(state, message, request.body, request.files)
    return message.wire()


def delete_message(state: State, request: Request) -> None:
    message = _message(state, request)
    if message.author is not state.bot:
        demand(state.allowed(message.channel), "manage_messages")
    if message.channel.archived:
        raise Refusal(400, 50083, "Thread is archived")
    state.remove(message)


def get_message(state: State, request: Request) -> Wire:
    return _message(state, request, "read_message_history").wire()


def list_messages(state: State, request: Request) -> list[Wire]:
    channel, query = _channel(state, request), request.query
    limit = int(query.get("limit", 50))
    if not 1 <= limit <= 100:
        raise invalid("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
    if not state.allowed(channel) & BITS["read_message_history"]:
        return []
    every = sorted(channel.messages.values(), key=lambda one: -one.id)
    if "before" in query:
        every = [one for one in every if one.id < int(query["before"])]
    elif "after" in query:
        # The oldest after that id, yet newest first.
        return [one.wire() for one in [one for one in every if one.id > int(query["after"])][-limit:]]
    elif "around" in query:
        middle = int(query["around"])
        near = sorted(every, key=lambda one: abs(one.id - middle))[:limit]
        every = sorted(near, key=lambda one: -one.id)
    return [one.wire() for one in every[:limit]]


def typing(state: State, request: Request) -> None:
    channel = _channel(state, request, "send_messages")
    body: Wire = {"channel_id": str(channel.id), "guild_id": str(state.guild), "user_id": str(state.bot.id)}
    state.tell("TYPING_START", body | {"timestamp": int(time.time()), "member": state.bot.member()}, channel)


def react(state: State, request: Request) -> None:
    message, emoji = _message(state, request, "read_message_history"), request.ids["emoji_name"]
    if message.channel.archived:
        raise Refusal(400, 50083, "Thread is archived")
    if emoji not in message.reactions:
        demand(state.allowed(message.channel), "add_reactions")
    if emoji.isascii() and ":" not in emoji:
        raise Refusal(400, 10014, "Unknown Emoji")
    if len(message.reactions) >= 20 and emoji not in message.reactions:
        raise Refusal(400, 30010, "Maximum number of reactions reached (20)")
    add_reaction(state, message, emoji, state.bot.id)


def add_reaction(state: State, message: Message, emoji: str, who: int) -> None:
    """Add a reaction once, and tell of it."""
    given = message.reactions.setdefault(emoji, [])
    if who not in given:
        given.append(who)
        tell_reaction(state, "MESSAGE_REACTION_ADD", message, emoji, who)


def tell_reaction(state: State, name: str, message: Message, emoji: str, who: int) -> None:
    body: Wire = {"user_id": str(who), "channel_id": str(message.channel.id), "message_id": str(message.id)}
    body |= {"guild_id": str(state.guild), "emoji": {"id": None, "name": emoji}, "burst": False, "type": 0}
    if name.endswith("ADD") and (user := state.user(who)):
        body |= {"member": user.member(), "message_author_id": str(message.author.id)}
    state.tell(name, body, message.channel)


def unreact(state: State, request: Request) -> None:
    message, emoji = _message(state, request), request.ids["emoji_name"]
    if state.bot.id in message.reactions.get(emoji, []):
        message.reactions[emoji].remove(state.bot.id)
        if not message.reactions[emoji]:
            del message.reactions[emoji]
        tell_reaction(state, "MESSAGE_REACTION_REMOVE", message, emoji, state.bot.id)


def unreact_all(state: State, request: Request) -> None:
    """Only a moderator may take away what others gave."""
    message = _message(state, request, "manage_messages")
    message.reactions.clear()
    where = {"channel_id": str(message.channel.id), "message_id": str(message.id), "guild_id": str(state.guild)}
    state.tell("MESSAGE_REACTION_REMOVE_ALL", where, message.channel)


REACTION = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me"
ROUTES: dict[str, Handler] = {
    "GET /channels/{channel_id}": get_channel,
    "POST /channels/{channel_id}/messages": post_message,
    "GET /channels/{channel_id}/messages": list_messages,
    "GET /channels/{channel_id}/messages/{message_id}": get_message,
    "PATCH /channels/{channel_id}/messages/{message_id}": patch_message,
    "DELETE /channels/{channel_id}/messages/{message_id}": delete_message,
    "POST /channels/{channel_id}/typing": typing,
    f"PUT {REACTION}": react,
    f"DELETE {REACTION}": unreact,
    "DELETE /channels/{channel_id}/messages/{message_id}/reactions": unreact_all,
}
