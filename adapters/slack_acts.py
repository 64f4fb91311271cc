"""What people do by buttons, menus, modals and shortcuts, as commands and answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from adapters import slack_modals as modals
from adapters.slack_api import call
from adapters.slack_replies import Place, Replies
from adapters.slack_text import typed
from adapters.slack_workspace import Workspace
from bot.budget import Urgency
from bot.reply import Reply
from bot.safetext import one_line
from bot.service import Message

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the person is to be told: messages for them alone, or errors beside a modal's fields."""

    place: Place
    messages: list[Json] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class Interactions:
    """Carries out interactions; each says by itself what it is about, so that one of last week works as well."""

    def __init__(self, workspace: Workspace, replies: Replies) -> None:
        self._service = workspace.service
        self._web = workspace.web
        self._budgets = workspace.budgets
        self._bot = workspace.bot
        self._replies = replies

    async def pressed(self, body: Json) -> Outcome:
        """A button or a menu of a message."""
        action, place = body["actions"][0], _place(body)
        trigger = str(body.get("trigger_id", ""))
        match str(action["action_id"]).split(":"):
            case ["rdev", "answer", ask, _]:
                return await self._told(place, await self._service.answer(ask, action["value"], place.actor))
            case ["rdev", "submit", ask]:
                chosen = _chosen(body, ask, json.loads(action["value"]))
                if not chosen:
                    return Outcome(place, [{"text": "Choose first, then press Answer."}])
                return await self._told(place, await self._service.answer(ask, chosen, place.actor))
            case ["rdev", "other", ask]:
                await self._open(trigger, modals.other(ask, action["value"], _carried(place)))
            case ["rdev", "do", "rewind"]:
                await self._rewind(trigger, place)
            case ["rdev", "do", verb]:
                text = f"/rdev stop {action['value']}" if verb == "stop" else f"/rdev {verb}"
                return await self._command(trigger, place, text)
            case _:
                pass  # a menu that waits for its button
        return Outcome(place)

    async def submitted(self, body: Json) -> Outcome:
        """A modal that was filled in; what is wrong is said beside its fields."""
        view = body["view"]
        carried, values = modals.where(view), modals.values(view)
        place = Place(_team(body), body["user"]["id"], carried.get("channel", ""), carried.get("root", ""))
        text = values.get(modals.FIELD, "").strip()
        match view["callback_id"]:
            case modals.OTHER:
                reply = await self._service.answer(carried["ask"], text, place.actor)
            case modals.REWIND:
                reply = await self._service.handle(self._message(body, place, f"/rdev rewind {text}"))
            case modals.ABOUT:
                quoted = "\n".join(f"> {row}" for row in carried["about"].split("\n"))
                work = f"/claude {values.get(modals.PROJECT, '')} {text}\n\nThis is about the message:\n{quoted}"
                reply = await self._service.handle(self._message(body, place, work))
            case _:
                return Outcome(place)
        if reply.error:
            return Outcome(place, errors={modals.FIELD: one_line(reply.text, 500)})
        return await self._told(place, reply)

    async def shortcut(self, body: Json) -> Outcome:
        """“Ask Claude about this” on a message."""
        message = body["message"]
        root = str(message.get("thread_ts") or message["ts"])
        place = Place(_team(body), body["user"]["id"], body["channel"]["id"], root, body.get("response_url", ""))
        projects = self._service.complete("/claude ", place.actor)
        if not projects:
            reply = await self._service.handle(self._message(body, place, "/claude ? ?"))
            return await self._told(place, reply)
        text = typed(str(message.get("text", "")), self._bot)
        await self._open(str(body["trigger_id"]), modals.about(text, projects, _carried(place)))
        return Outcome(place)

    async def _rewind(self, trigger: str, place: Place) -> None:
        shown = await self._open(trigger, modals.rewind(_carried(place)))
        # A trigger lives three seconds, and a box may take longer to start: the list comes afterwards.
        listed = await self._service.handle(Message("", "slack", place.thread, place.actor, "/rdev checkpoints"))
        await self._budgets.files.take(Urgency.REPLY)
        view = modals.rewind(_carried(place), listed.text)
        await call(self._web.views_update(view_id=shown["view"]["id"], view=view))

    async def _open(self, trigger: str, view: Json) -> Json:
        await self._budgets.ephemeral.take(Urgency.ASK)
        return await call(self._web.views_open(trigger_id=trigger, view=view))

    async def _command(self, trigger: str, place: Place, text: str) -> Outcome:
        message = Message(f"slack:{trigger}", "slack", place.thread, place.actor, text, place.thread)
        reply = await self._service.handle(message)
        return await self._told(place, reply)

    def _message(self, body: Json, place: Place, text: str) -> Message:
        # A modal's view is submitted once; its trigger is new each time.
        return Message(f"slack:{body['trigger_id']}", "slack", place.thread, place.actor, text, place.thread)

    async def _told(self, place: Place, reply: Reply) -> Outcome:
        return Outcome(place, await self._replies.told(place, reply))


def _place(body: Json) -> Place:
    container = body.get("container") or {}
    message = body.get("message") or {}
    root = str(container.get("thread_ts") or message.get("thread_ts") or "")
    channel = str(container.get("channel_id") or (body.get("channel") or {}).get("id", ""))
    return Place(_team(body), body["user"]["id"], channel, root, body.get("response_url", ""))


def _team(body: Json) -> str:
    """The workspace of the person, which is not ours for guests of a shared channel."""
    return str(body["user"].get("team_id") or body["team"]["id"])


def _carried(place: Place) -> Json:
    return {"channel": place.channel, "root": place.root}


def _chosen(body: Json, ask: str, choices: list[str]) -> list[str]:
    """What was marked, in full where the button carries it."""
    picked = ((body.get("state") or {}).get("values") or {}).get(f"ask:{ask}", {}).get(f"rdev:pick:{ask}", {})
    options = picked.get("selected_options") or ([picked["selected_option"]] if picked.get("selected_option") else [])
    return [choices[int(o["value"])] if int(o["value"]) < len(choices) else str(o["text"]["text"]) for o in options]
