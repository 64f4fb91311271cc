"""The routes of threads and of the guild."""

from __future__ import annotations

from discord_nouns import Channel
from discord_permissions import BITS, demand
from discord_refusals import ARCHIVE_MINUTES, Refusal, invalid, length
from discord_rest import Handler, Request
from discord_state import State
from discord_wire import Wire


def _named(body: Wire) -> tuple[str, int]:
    minutes = body.get("auto_archive_duration") or 1440
    if minutes not in ARCHIVE_MINUTES:
        raise invalid("auto_archive_duration", "BASE_TYPE_CHOICES", f"Value must be one of {ARCHIVE_MINUTES}.")
    length("name", (body.get("name") or "").strip(), 1, 100)
    return body["name"].strip(), minutes


def from_message(state: State, request: Request) -> tuple[int, Wire]:
    channel = state.channel(request.ids["channel_id"])
    demand(state.allowed(channel), "create_public_threads")
    root = state.message(channel, request.ids["message_id"])
    name, minutes = _named(request.body)
    thread = state.open_thread(channel, name, minutes, state.bot, root)
    return 201, thread.wire() | {"member": thread.membership(state.bot.id)}


def without_message(state: State, request: Request) -> tuple[int, Wire]:
    channel = state.channel(request.ids["channel_id"])
    demand(state.allowed(channel), "create_public_threads")
    name, minutes = _named(request.body)
    if request.body.get("type", 12) != 11:
        raise invalid("type", "BASE_TYPE_CHOICES", "Only public threads are kept here; the default is a private one.")
    thread = state.open_thread(channel, name, minutes, state.bot, None)
    return 201, thread.wire() | {"member": thread.membership(state.bot.id)}


def patch_channel(state: State, request: Request) -> Wire:
    """Rename, archive, unarchive or lock a thread; a plain channel is not the bot's to change."""
    thread, body = state.channel(request.ids["channel_id"]), request.body
    allowed = state.allowed(thread)
    manager = allowed & BITS["manage_threads"]
    if thread.parent is None or ("locked" in body and not manager):
        demand(allowed, "manage_threads")
    if thread.archived and body.get("archived") is not False:
        raise Refusal(400, 50083, "Thread is archived")
    unarchive_only = set(body) == {"archived"} and not body["archived"] and not thread.locked
    if not unarchive_only and not manager and thread.owner != state.bot.id:
        demand(allowed, "manage_threads")
    minutes = thread.archive_minutes
    if "name" in body or "auto_archive_duration" in body:
        thread.name, minutes = _named({"name": thread.name, "auto_archive_duration": minutes, **body})
    thread.archive_minutes = minutes
    state.archive(thread, archived=bool(body.get("archived", thread.archived)), locked=body.get("locked"))
    return thread.wire()


def delete_channel(state: State, request: Request) -> Wire:
    channel = state.channel(request.ids["channel_id"])
    demand(state.allowed(channel), "manage_threads")
    state.delete(channel)
    return channel.wire()


def _member(state: State, request: Request) -> tuple[Channel, int]:
    thread = state.channel(request.ids["channel_id"])
    if thread.parent is None:
        raise Refusal(400, 50024, "Cannot execute action on this channel type")
    who = request.ids.get("user_id", "@me")
    return thread, state.bot.id if who == "@me" else int(who)


def join(state: State, request: Request) -> None:
    thread, who = _member(state, request)
    if thread.archived:
        raise Refusal(400, 50083, "Thread is archived")
    user = state.user(who)
    if user is None:
        raise Refusal(404, 10013, "Unknown User")
    state.join(thread, user)


def leave(state: State, request: Request) -> None:
    thread, who = _member(state, request)
    if thread.archived:
        raise Refusal(400, 50083, "Thread is archived")
    if state.bot.id not in (who, thread.owner):
        demand(state.allowed(thread), "manage_threads")
    if who in thread.members:
        thread.members.remove(who)
        gone = {"id": str(thread.id), "guild_id": str(state.guild), "member_count": len(thread.members)}
        state.tell("THREAD_MEMBERS_UPDATE", {**gone, "removed_member_ids": [str(who)], "added_members": []}, thread)


def members(state: State, request: Request) -> list[Wire]:
    thread, _ = _member(state, request)
    return [thread.membership(who) for who in thread.members]


def member(state: State, request: Request) -> Wire:
    thread, who = _member(state, request)
    if who not in thread.members:
        raise Refusal(404, 10007, "Unknown Member")
    return thread.membership(who)


def _guild(state: State, request: Request) -> None:
    if int(request.ids["guild_id"]) != state.guild or state.kicked:
        raise Refusal(404, 10004, "Unknown Guild")


def _listed(state: State, threads: list[Channel]) -> Wire:
    seen = [one for one in threads if state.allowed(one) & BITS["view_channel"]]
    mine = [one.membership(state.bot.id) for one in seen if state.bot.id in one.members]
    return {"threads": [one.wire() for one in seen], "members": mine}


def active(state: State, request: Request) -> Wire:
    _guild(state, request)
    return _listed(state, state.threads()) | {"has_more": False}


def archived(state: State, request: Request) -> Wire:
    channel = state.channel(request.ids["channel_id"])
    demand(state.allowed(channel), "read_message_history")
    return _listed(state, state.threads(channel, archived=True)) | {"has_more": False}


def guild_member(state: State, request: Request) -> Wire:
    _guild(state, request)
    user = state.user(int(request.ids["user_id"]))
    if user is None:
        raise Refusal(404, 10007, "Unknown Member")
    return user.member()


def guild_channels(state: State, request: Request) -> list[Wire]:
    _guild(state, request)
    seen = [one for one in state.channels.values() if state.allowed(one) & BITS["view_channel"]]
    return [one.wire() for one in seen if one.parent is None]


def guild(state: State, request: Request) -> Wire:
    _guild(state, request)
    return state.guild_wire(members=False)


ROUTES: dict[str, Handler] = {
    "POST /channels/{channel_id}/messages/{message_id}/threads": from_message,
    "POST /channels/{channel_id}/threads": without_message,
    "PATCH /channels/{channel_id}": patch_channel,
    "DELETE /channels/{channel_id}": delete_channel,
    "PUT /channels/{channel_id}/thread-members/@me": join,
    "DELETE /channels/{channel_id}/thread-members/@me": leave,
    "PUT /channels/{channel_id}/thread-members/{user_id}": join,
    "DELETE /channels/{channel_id}/thread-members/{user_id}": leave,
    "GET /channels/{channel_id}/thread-members": members,
    "GET /channels/{channel_id}/thread-members/{user_id}": member,
    "GET /guilds/{guild_id}/threads/active": active,
    "GET /channels/{channel_id}/threads/archived/public": archived,
    "GET /guilds/{guild_id}/members/{user_id}": guild_member,
    "GET /guilds/{guild_id}/channels": guild_channels,
    "GET /guilds/{guild_id}": guild,
}
