"""The routes by which an application answers what a person did."""

from __future__ import annotations

import time
from typing import Any

from discord_nouns import Interaction, Message
from discord_permissions import BITS
from discord_posting import compose, rewrite
from discord_refusals import Refusal, check_choices, check_modal, invalid
from discord_rest import Handler, Request
from discord_state import State
from discord_wire import EPHEMERAL, LOADING, Wire

ACK_SECONDS = 3.0
TOKEN_SECONDS = 900.0
PONG, MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 1, 4, 5, 6, 7, 8, 9
COMMAND, COMPONENT, AUTOCOMPLETE, SUBMIT = 2, 3, 4, 5


def callback(state: State, request: Request) -> Any:
    """The first answer: once, within three seconds, and of a type that fits."""
    interaction = state.interactions.get(request.ids["interaction_token"])
    known = interaction is not None and interaction.id == int(request.ids["interaction_id"])
    if interaction is None or not known:
        raise Refusal(404, 10062, "Unknown interaction")
    if interaction.acknowledged:
        raise Refusal(400, 40060, "Interaction has already been acknowledged.")
    late = time.time() - interaction.created
    if late > ACK_SECONDS:
        raise Refusal(404, 10062, "Unknown interaction")
    kind, data = request.body["type"], request.body.get("data") or {}
    if kind not in _fitting(interaction):
        raise invalid("type", "UNION_TYPE_CHOICES", f"A callback of type {kind} does not answer this interaction.")
    message = _acknowledge(state, interaction, kind, data, request)
    interaction.acknowledged, interaction.ack_after = kind, late
    if message is not None and kind in (MESSAGE, DEFER):
        interaction.response = state.store(message)
    state.changed()
    if request.query.get("with_response") not in ("1", "true", "True"):
        return None
    told: Wire = {"id": str(interaction.id), "type": interaction.kind}
    if message is None:
        return {"interaction": told}
    told |= {"response_message_id": str(message.id), "response_message_loading": bool(message.flags & LOADING)}
    told |= {"response_message_ephemeral": bool(message.flags & EPHEMERAL)}
    # Only an answer that is there already comes back with its message.
    shown = {"resource": {"type": kind, "message": message.wire()}} if kind in (MESSAGE, UPDATE) else {}
    return {"interaction": told, **shown}


def _fitting(interaction: Interaction) -> tuple[int, ...]:
    match interaction.kind:
        case 2:
            return (MESSAGE, DEFER, MODAL)
        case 4:
            return (CHOICES,)
        case 5 if interaction.message is None:
            return (MESSAGE, DEFER)
        case 5:
            return (MESSAGE, DEFER, DEFER_UPDATE, UPDATE)
        case _:
            return (MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL)


def _acknowledge(state: State, interaction: Interaction, kind: int, data: Wire, request: Request) -> Message | None:
    match kind:
        case 4:
            message = compose(state, interaction.channel, state.bot, data, request.files, prefix="data.")
            return _answering(interaction, message)
        case 5:
            message = Message(state.ids.next(), interaction.channel, state.bot)
            message.flags = LOADING | int(data.get("flags") or 0) & EPHEMERAL
            return _answering(interaction, message)
        case 6:
            interaction.response = interaction.message
            return interaction.message
        case 7:
            assert interaction.message is not None
            rewrite(state, interaction.message, data, request.files, prefix="data.")
            interaction.response = interaction.message
            return interaction.message
        case 8:
            check_choices(data.get("choices") or [])
            interaction.choices = data.get("choices") or []
        case _:
            check_modal(data)
            interaction.modal = data
    return None


def _answering(interaction: Interaction, message: Message) -> Message:
    message.interaction = interaction
    message.seen_only_by = interaction.user.id if message.flags & EPHEMERAL else 0
    message.kind = {COMMAND: 20, COMPONENT: 19}.get(interaction.kind, 0)
    if interaction.kind == COMMAND and interaction.data["type"] != 1:
        message.kind = 23
    if message.kind == 19 and interaction.message is not None:
        message.referenced = interaction.message
        where = {"channel_id": str(interaction.channel.id), "guild_id": str(interaction.channel.guild)}
        message.reference = {"type": 0, "message_id": str(interaction.message.id), **where}
    return message


def _webhook(state: State, request: Request) -> Interaction:
    interaction = state.interactions.get(request.ids["webhook_token"])
    mine = int(request.ids["webhook_id"]) == state.bot.id
    if interaction is None or not mine or not interaction.acknowledged or interaction.kind == AUTOCOMPLETE:
        raise Refusal(404, 10015, "Unknown Webhook")
    if time.time() - interaction.created > TOKEN_SECONDS:
        raise Refusal(401, 50027, "Invalid Webhook Token")
    if interaction.channel.id not in state.channels:
        raise Refusal(404, 10003, "Unknown Channel")
    return interaction


def follow_up(state: State, request: Request) -> Any:
    """Another message; the first after a deferral takes the place of the loading one."""
    interaction, body = _webhook(state, request), request.body
    loading = interaction.response
    if loading is not None and loading.flags & LOADING:
        rewrite(state, loading, body, request.files)
        return loading.wire()
    message = compose(state, interaction.channel, state.bot, body, request.files)
    message.interaction = interaction
    message.seen_only_by = interaction.user.id if message.flags & EPHEMERAL else 0
    interaction.followups.append(state.store(message))
    return message.wire() if request.query.get("wait") in ("1", "true", "True") else None


def _original(state: State, request: Request) -> Message:
    response = _webhook(state, request).response
    if response is None or response.id not in (*response.channel.messages, *state.hidden):
        raise Refusal(404, 10008, "Unknown Message")
    return response


def _followup(state: State, request: Request) -> Message:
    interaction = _webhook(state, request)
    every = [*interaction.followups, *([interaction.response] if interaction.response else [])]
    for message in every:
        there = message.id in message.channel.messages or message.id in state.hidden
        if there and str(message.id) == request.ids["message_id"]:
            return message
    raise Refusal(404, 10008, "Unknown Message")


def _edited(state: State, message: Message, request: Request) -> Wire:
    if message.channel.archived and not state.allowed(message.channel) & BITS["manage_threads"]:
        raise Refusal(400, 50083, "Thread is archived")
    rewrite(state, message, request.body, request.files)
    return message.wire()


def get_original(state: State, request: Request) -> Wire:
    return _original(state, request).wire()


def patch_original(state: State, request: Request) -> Wire:
    return _edited(state, _original(state, request), request)


def delete_original(state: State, request: Request) -> None:
    state.remove(_original(state, request))


def get_followup(state: State, request: Request) -> Wire:
    return _followup(state, request).wire()


def patch_followup(state: State, request: Request) -> Wire:
    return _edited(state, _followup(state, request), request)


def delete_followup(state: State, request: Request) -> None:
    state.remove(_followup(state, request))


WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"
ROUTES: dict[str, Handler] = {
    "POST /interactions/{interaction_id}/{interaction_token}/callback": callback,
    f"POST {WEBHOOK}": follow_up,
    f"GET {WEBHOOK}/messages/@original": get_original,
    f"PATCH {WEBHOOK}/messages/@original": patch_original,
    f"DELETE {WEBHOOK}/messages/@original": delete_original,
    f"GET {WEBHOOK}/messages/{{message_id}}": get_followup,
    f"PATCH {WEBHOOK}/messages/{{message_id}}": patch_followup,
    f"DELETE {WEBHOOK}/messages/{{message_id}}": delete_followup,
}
