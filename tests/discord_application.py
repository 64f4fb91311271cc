"""The routes of the application itself: who it is, its commands, and where its gateway is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from discord_commands import check_commands
from discord_refusals import Refusal
from discord_rest import Handler, Request
from discord_state import State
from discord_wire import Wire


def me(state: State, _request: Request) -> Wire:
    return state.bot.wire() | {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None}


def my_application(state: State, _request: Request) -> Wire:
    owner = state.user(state.owner)
    assert owner is not None
    body: Wire = {"id": str(state.bot.id), "name": state.bot.name, "icon": None, "description": "", "summary": ""}
    body |= {"bot_public": False, "bot_require_code_grant": False, "verify_key": "0" * 64, "team": None}
    body |= {"flags": 1 << 19 | 1 << 15, "owner": owner.wire(), "bot": state.bot.wire(), "type": None}
    body |= dict.fromkeys(("approximate_guild_count", "approximate_user_install_count"), 1)
    body |= {"approximate_user_authorization_count": 1, "explicit_content_filter": 0, "flags_new": str(body["flags"])}
    body |= {"role_connections_verification_url": None, "eligible_oauth2_scopes": ["bot", "applications.commands"]}
    return body | {"integration_types_config": {"0": {}}, "redirect_uris": [], "interactions_endpoint_url": None}


def _scope(state: State, ids: Mapping[str, str]) -> int:
    if int(ids["application_id"]) != state.bot.id:
        raise Refusal(404, 10002, "Unknown Application")
    guild = int(ids.get("guild_id", 0))
    if guild and (guild != state.guild or state.kicked):
        raise Refusal(403, 50001, "Missing Access")
    return guild


def _stored(state: State, guild: int, body: Wire, old: Mapping[tuple[str, int], str]) -> Wire:
    kind = body.get("type", 1)
    id_ = old.get((body["name"], kind)) or str(state.ids.next())
    own = {"id": id_, "application_id": str(state.bot.id), "version": str(state.ids.next()), "type": kind}
    own |= {"description": body.get("description") or "", "options": body.get("options") or [], "nsfw": False}
    scope: dict[str, Any] = {"guild_id": str(guild)} if guild else {"contexts": body.get("contexts")}
    rest = {"default_member_permissions": body.get("default_member_permissions"), "name": body["name"]}
    return own | scope | rest | {"dm_permission": True, "integration_types": body.get("integration_types") or [0]}


def put_commands(state: State, request: Request) -> list[Wire]:
    """Replace all commands of a scope; one that keeps its name keeps its id."""
    guild = _scope(state, request.ids)
    check_commands(request.body)
    old = {(one["name"], one["type"]): one["id"] for one in state.commands.get(guild, [])}
    state.commands[guild] = [_stored(state, guild, one, old) for one in request.body]
    return state.commands[guild]


def get_commands(state: State, request: Request) -> list[Wire]:
    return state.commands.get(_scope(state, request.ids), [])


def post_command(state: State, request: Request) -> tuple[int, Wire]:
    guild = _scope(state, request.ids)
    known = state.commands.setdefault(guild, [])
    name = (request.body["name"], request.body.get("type", 1))
    others = [one for one in known if (one["name"], one["type"]) != name]
    check_commands([*others, request.body])
    old = {(one["name"], one["type"]): one["id"] for one in known}
    made = _stored(state, guild, request.body, old)
    state.commands[guild] = [*others, made]
    return (200 if name in old else 201), made


def delete_command(state: State, request: Request) -> None:
    guild = _scope(state, request.ids)
    left = [one for one in state.commands.get(guild, []) if one["id"] != request.ids["command_id"]]
    if len(left) == len(state.commands.get(guild, [])):
        raise Refusal(404, 10063, "Unknown application command")
    state.commands[guild] = left


def gateway(state: State, _request: Request) -> Wire:
    return {"url": state.gateway}


def gateway_bot(state: State, _request: Request) -> Wire:
    start = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}
    return {"url": state.gateway, "shards": state.shards, "session_start_limit": start}


GLOBAL, GUILD = "/applications/{application_id}/commands", "/applications/{application_id}/guilds/{guild_id}/commands"
ROUTES: dict[str, Handler] = {
    "GET /users/@me": me,
    "GET /oauth2/applications/@me": my_application,
    "GET /applications/@me": my_application,
    f"PUT {GLOBAL}": put_commands,
    f"GET {GLOBAL}": get_commands,
    f"POST {GLOBAL}": post_command,
    f"DELETE {GLOBAL}/{{command_id}}": delete_command,
    f"PUT {GUILD}": put_commands,
    f"GET {GUILD}": get_commands,
    f"POST {GUILD}": post_command,
    f"DELETE {GUILD}/{{command_id}}": delete_command,
    "GET /gateway": gateway,
    "GET /gateway/bot": gateway_bot,
}
