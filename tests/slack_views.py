"""Modals: views.open, update and push, and what a person fills in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slack_blocks import check_view
from slack_hub import Hub
from slack_state import APP, BOT, TEAM, Json, Refused, Shown, Workspace

DEEP = 3
"""Modals on top of each other."""


def shown_view(hub: Hub, user: str, view: Json, root: str) -> Shown:
    """The view on that user's screen, with the fields that Slack adds."""
    name = hub.space.id("V")
    added: Json = {"id": name, "team_id": TEAM, "app_id": APP, "bot_id": BOT, "hash": hub.space.ts()}
    added |= {"state": {"values": {}}, "root_view_id": root or name, "app_installed_team_id": TEAM}
    defaults: Json = {"external_id": "", "private_metadata": "", "callback_id": "", "previous_view_id": None}
    return Shown(name, user, {**defaults, **view, **added}, root or name)


def open_view(hub: Hub, args: Json, warnings: list[str]) -> Json:
    trigger = hub.exchange(args.get("trigger_id") or "")
    screen = shown_view(hub, trigger.user, check_view(args["view"]), "")
    hub.space.screens[trigger.user] = [screen]
    return {"view": screen.view}


def push(hub: Hub, args: Json, warnings: list[str]) -> Json:
    trigger = hub.exchange(args.get("trigger_id") or "")
    stack = hub.space.screens.get(trigger.user) or []
    if not stack or trigger.screen not in [shown.id for shown in stack]:
        raise Refused("not_found")
    if len(stack) >= DEEP:
        raise Refused("push_limit_reached")
    screen = shown_view(hub, trigger.user, check_view(args["view"]), stack[0].id)
    screen.view["previous_view_id"] = stack[-1].id
    stack.append(screen)
    return {"view": screen.view}


def update(hub: Hub, args: Json, warnings: list[str]) -> Json:
    view = check_view(args["view"])
    shown = find(hub.space, args.get("view_id") or "", args.get("external_id") or "")
    if args.get("hash") and args["hash"] != shown.view["hash"]:
        raise Refused("hash_conflict")
    replace(hub, shown, view)
    return {"view": shown.view}


def find(space: Workspace, name: str, external: str = "") -> Shown:
    for stack in space.screens.values():
        for shown in stack:
            if shown.id == name or (external and shown.view["external_id"] == external):
                return shown
    raise Refused("not_found")


def replace(hub: Hub, shown: Shown, view: Json) -> None:
    kept = {key: shown.view[key] for key in ("id", "team_id", "app_id", "bot_id", "root_view_id", "previous_view_id")}
    fresh = shown_view(hub, shown.user, view, shown.root).view
    shown.view = {**fresh, **kept, "hash": hub.space.ts()}


def answered(hub: Hub, shown: Shown, answer: Json | None) -> Json:
    """Do what the app answered to a submission; the errors it showed, if any."""
    stack = hub.space.screens[shown.user]
    match (answer or {}).get("response_action"):
        case "errors":
            return dict((answer or {})["errors"])
        case "update":
            replace(hub, shown, check_view((answer or {})["view"]))
        case "push":
            stack.append(shown_view(hub, shown.user, check_view((answer or {})["view"]), stack[0].id))
        case "clear":
            stack.clear()
        case _:
            stack.remove(shown)
    return {}


def filled(view: Json, values: Mapping[str, Any]) -> Json:
    """The state of the view's inputs once a person entered these values, by action_id or block_id."""
    state: Json = {}
    used: set[str] = set()
    for block in view["blocks"]:
        element = block.get("element") if block["type"] == "input" else None
        if element is None:
            continue
        given = [key for key in (element.get("action_id"), block.get("block_id")) if key in values]
        used.update(given)
        value = values[given[0]] if given else None
        if value in (None, "", []) and not block.get("optional") and not initial(element):
            raise LookupError(f"a person must fill in {block['label']['text']!r}")
        entry = entered(element, value)
        state.setdefault(block.get("block_id") or "auto", {})[element.get("action_id") or "auto"] = entry
    if unknown := set(values) - used:
        raise LookupError(f"the modal has no {sorted(unknown)}")
    return {"values": state}


def initial(element: Json) -> bool:
    return any(key.startswith("initial_") for key in element)


def entered(element: Json, value: Any) -> Json:
    """One input as state.values carries it."""
    kind = element["type"]
    if kind == "plain_text_input":
        text = element.get("initial_value") if value is None else value
        if text and not int(element.get("min_length", 0)) <= len(text) <= int(element.get("max_length", 3000)):
            raise LookupError(f"a person cannot enter {len(text)} characters here")
        return {"type": kind, "value": text or None}
    many = kind in ("checkboxes", "multi_static_select")
    wanted = value if many else [value]
    chosen = [option_of(element, item) for item in wanted or () if item is not None]
    if many:
        return {"type": kind, "selected_options": chosen or element.get("initial_options") or []}
    return {"type": kind, "selected_option": chosen[0] if chosen else element.get("initial_option")}


def option_of(element: Json, value: str) -> Json:
    """The option of that value, or of that label."""
    groups = element.get("option_groups") or [{"options": element.get("options") or []}]
    for option in (option for group in groups for option in group["options"]):
        if value in (option["value"], option["text"]["text"]):
            return dict(option)
    raise LookupError(f"no option {value!r} to choose")


METHODS = {"views.open": open_view, "views.push": push, "views.update": update}
