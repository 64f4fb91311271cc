"""conversations.*, reactions.*, users.*, auth.test and assistant.threads.setStatus."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence

from slack_chat import thread_of
from slack_hub import Hub, wire
from slack_state import BOT, BOT_USER, TEAM, Channel, Json, Refused

KEPT = 120
"""Seconds that an assistant's status stays without being refreshed."""


def auth_test(hub: Hub, args: Json, warnings: list[str]) -> Json:
    answer = {"url": f"{hub.space.base}/", "team": "fake", "user": "rdev", "team_id": TEAM}
    return {**answer, "user_id": BOT_USER, "bot_id": BOT, "is_enterprise_install": False}


def page(args: Json, found: Sequence[Json], default: int) -> tuple[list[Json], Json]:
    """One page of what was found, and the cursor to the next."""
    skip = 0
    if args.get("cursor"):
        try:
            skip = int(base64.b64decode(args["cursor"]).decode().removeprefix("next:"))
        except ValueError:
            raise Refused("invalid_cursor") from None
    upto = skip + int(args.get("limit") or default)
    more = upto < len(found)
    cursor = base64.b64encode(f"next:{upto}".encode()).decode() if more else ""
    return list(found[skip:upto]), {"has_more": more, "response_metadata": {"next_cursor": cursor}}


def within(args: Json, messages: Sequence[Json]) -> list[Json]:
    """The messages between `oldest` and `latest`."""
    oldest, latest = float(args.get("oldest") or 0), float(args.get("latest") or "inf")
    edge = bool(args.get("inclusive"))
    return [m for m in messages if oldest < float(m["ts"]) < latest or (edge and float(m["ts"]) in (oldest, latest))]


def replies(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"], member=True)
    root = channel.messages.get(args["ts"])
    if root is None:
        raise Refused("thread_not_found")
    alone = root.get("thread_ts", args["ts"]) != args["ts"]
    answers = [root] if alone else [m for m in channel.thread(args["ts"]) if m is not root]
    found, more = page(args, within(args, answers), 1000)
    shown = found if alone else [root, *found]  # the parent comes first on every page
    return {"messages": [wire(m, bool(args.get("include_all_metadata"))) for m in shown], **more}


def history(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel"], member=True)
    tops = [m for ts, m in channel.messages.items() if m.get("thread_ts", ts) == ts or broadcast(m)]
    found, more = page(args, within(args, tops[::-1]), 100)
    return {"messages": [wire(m, bool(args.get("include_all_metadata"))) for m in found], "pin_count": 0, **more}


def broadcast(message: Json) -> bool:
    return message.get("subtype") == "thread_broadcast"


def described(channel: Channel) -> Json:
    kind = {"is_channel": not channel.im, "is_group": channel.private, "is_im": bool(channel.im)}
    if channel.im:
        return {"id": channel.id, "user": channel.im, "is_archived": channel.archived, **kind}
    rest = {"is_archived": channel.archived, "is_private": channel.private, "is_member": BOT_USER in channel.members}
    return {"id": channel.id, "name": channel.name, **kind, **rest, "context_team_id": TEAM}


def info(hub: Hub, args: Json, warnings: list[str]) -> Json:
    return {"channel": described(hub.channel(args["channel"]))}


def open_direct(hub: Hub, args: Json, warnings: list[str]) -> Json:
    names = [name for name in str(args.get("users") or "").split(",") if name]
    if args.get("channel"):
        return {"channel": described(hub.channel(args["channel"]))}
    if len(names) != 1:
        raise Refused("users_list_not_supplied" if not names else "too_many_users")
    if names[0] not in hub.space.users or hub.space.users[names[0]].bot:
        raise Refused("user_not_found")
    channel = hub.space.direct(names[0])
    return {"channel": described(channel) if args.get("return_im") else {"id": channel.id}}


def target(hub: Hub, args: Json) -> tuple[Channel, Json]:
    channel = hub.channel(args["channel"])
    message = channel.messages.get(args.get("timestamp", ""))
    if message is None:
        raise Refused("message_not_found")
    return channel, message


def react(hub: Hub, channel: Channel, message: Json, user: str, name: str) -> None:
    """Add the reaction; one is there once for each person."""
    reactions = message.setdefault("reactions", [])
    entry = next((r for r in reactions if r["name"] == name), None)
    if entry is None:
        entry = {"name": name, "users": [], "count": 0}
        reactions.append(entry)
    if user in entry["users"]:
        raise Refused("already_reacted")
    entry["users"].append(user)
    entry["count"] += 1
    item = {"type": "message", "channel": channel.id, "ts": message["ts"]}
    event = {"type": "reaction_added", "user": user, "reaction": name, "item": item, "item_user": message["user"]}
    hub.emit({**event, "event_ts": hub.space.ts()})


def add_reaction(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel, message = target(hub, args)
    if channel.archived:
        raise Refused("is_archived")
    if not args["name"].replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise Refused("invalid_name")
    react(hub, channel, message, BOT_USER, args["name"])
    return {}


def remove_reaction(hub: Hub, args: Json, warnings: list[str]) -> Json:
    _, message = target(hub, args)
    entry = next((r for r in message.get("reactions", []) if r["name"] == args["name"]), None)
    if entry is None or BOT_USER not in entry["users"]:
        raise Refused("no_reaction")
    entry["users"].remove(BOT_USER)
    entry["count"] -= 1
    message["reactions"] = [r for r in message["reactions"] if r["count"]]
    return {}


def user_info(hub: Hub, args: Json, warnings: list[str]) -> Json:
    user = hub.space.users.get(args["user"])
    if user is None:
        raise Refused("user_not_found")
    profile = {"display_name": user.name, "real_name": user.name.title()}
    return {"user": {"id": user.id, "team_id": TEAM, "name": user.name, "is_bot": user.bot, "profile": profile}}


def set_status(hub: Hub, args: Json, warnings: list[str]) -> Json:
    channel = hub.channel(args["channel_id"], post=True)
    thread = thread_of(channel, args["thread_ts"])
    if thread is None:
        raise Refused("invalid_thread_ts")
    loading = args.get("loading_messages")
    if loading is not None and not (0 < len(loading) <= 10 and all(0 < len(text) <= 50 for text in loading)):
        raise Refused(
            "invalid_arguments", "[ERROR] 1 to 10 items of 1 to 50 characters [json-pointer:/loading_messages]"
        )
    shown = {"status": args["status"], "loading_messages": loading or [], "until": time.monotonic() + KEPT}
    hub.space.statuses[channel.id, thread] = shown
    if not args["status"]:
        del hub.space.statuses[channel.id, thread]
    return {}


METHODS = {
    "auth.test": auth_test,
    "conversations.replies": replies,
    "conversations.history": history,
    "conversations.info": info,
    "conversations.open": open_direct,
    "reactions.add": add_reaction,
    "reactions.remove": remove_reaction,
    "users.info": user_info,
    "assistant.threads.setStatus": set_status,
}
