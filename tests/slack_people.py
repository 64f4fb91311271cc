"""What people do in the workspace, and what Slack then tells the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slack_files
import slack_reads
import slack_streams
import slack_views
from slack_answers import show
from slack_hub import Hub, wire
from slack_outbox import Answer, Outbox
from slack_state import APP, BOT_USER, TEAM, Channel, Json, Shown, User, Workspace, rich


class People:
    """Hands of the people: each name is a user's or a channel's, new ones are made."""

    hub: Hub
    space: Workspace
    outbox: Outbox

    def _place(self, user: str, channel: str) -> tuple[User, Channel]:
        who, place = self.space.user(user), self.space.channel(channel)
        place.members.add(who.id)
        return who, place

    def _base(self, who: User, screen: str = "") -> Json:
        person = {"id": who.id, "username": who.name, "name": who.name, "team_id": TEAM}
        base: Json = {"user": person, "team": {"id": TEAM, "domain": "fake"}, "api_app_id": APP, "enterprise": None}
        return {**base, "token": "verification", "is_enterprise_install": False, **self._trigger(who, screen)}

    def _trigger(self, who: User, screen: str = "") -> Json:
        return {"trigger_id": self.hub.trigger(who.id, screen)}

    async def command(self, user: str, channel: str, command: str, text: str = "") -> Answer:
        """Type a slash command; the answer in the acknowledgement is shown."""
        who, place = self._place(user, channel)
        url = self.hub.response_url("commands", who.id, place.id)
        payload = {"token": "verification", "team_id": TEAM, "team_domain": "fake", "channel_id": place.id}
        payload |= {"channel_name": place.name, "user_id": who.id, "user_name": who.name, "command": command}
        payload |= {"text": text, "api_app_id": APP, "is_enterprise_install": "false", "response_url": url}
        answer = await self.outbox.deliver("slash_commands", {**payload, **self._trigger(who)})
        if answer.acked and answer.payload:
            show(self.hub, self.hub.response_urls[url.rpartition("/")[2]], answer.payload)
        return answer

    def say(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str = "",
        files: Sequence[tuple[str, bytes]] = (),
    ) -> str:
        """Write a message, in a thread or not, with (name, bytes) attached; its timestamp."""
        who, place = self._place(user, channel)
        message: Json = {"type": "message", "user": who.id, "text": text, "team": TEAM, "blocks": rich(text)}
        message["client_msg_id"] = self.space.id("")
        if thread_ts:
            message["thread_ts"] = thread_ts
        if files:
            attached = [slack_files.attach(self.space, who.id, name, data) for name, data in files]
            message |= {"files": attached, "upload": True, "subtype": "file_share"}
        self.space.put(place, message)
        self._tell(place, lambda: self.hub.posted(place, message))
        if f"<@{BOT_USER}>" in text:
            event = {**wire(message), "type": "app_mention", "channel": place.id, "event_ts": message["ts"]}
            self._tell(place, lambda: self.hub.emit(event))
        return str(message["ts"])

    def mention(self, user: str, channel: str, text: str, *, thread_ts: str = "") -> str:
        """Write a message that begins with the app's name."""
        return self.say(user, channel, f"<@{BOT_USER}> {text}", thread_ts=thread_ts)

    def _tell(self, place: Channel, tell: Any) -> None:
        """Only the channels that the app is in are told of."""
        if BOT_USER in place.members:
            tell()

    def edit_message(self, ts: str, text: str) -> None:
        """Change one's own message."""
        place, message = self.space.find(ts)
        before = dict(message)
        message |= {"text": text, "blocks": rich(text), "edited": {"user": message["user"], "ts": self.space.ts()}}
        self._tell(place, lambda: self.hub.changed(place, message, before))

    def delete_message(self, ts: str) -> None:
        """Delete a message, one's own or, as an admin, the app's."""
        place, _ = self.space.find(ts)
        gone = self.space.remove(place, ts)
        self._tell(place, lambda: self.hub.deleted(place, gone))

    def react(self, user: str, ts: str, name: str) -> None:
        place, message = self.space.find(ts)
        slack_reads.react(self.hub, place, message, self.space.user(user).id, name)

    async def click(self, user: str, ts: str, action_id: str) -> Answer:
        """Press a button of a message."""
        _, element = self.element(ts, action_id)
        assert element["type"] == "button", element
        extra: Json = {key: element[key] for key in ("text", "value", "style", "url") if key in element}
        return await self._act(user, ts, action_id, extra)

    async def select(self, user: str, ts: str, action_id: str, *values: str) -> Answer:
        """Choose from a menu, radio buttons or checkboxes of a message, by value or label."""
        _, element = self.element(ts, action_id)
        many = element["type"] in ("multi_static_select", "checkboxes")
        chosen = [slack_views.option_of(element, value) for value in values]
        return await self._act(
            user, ts, action_id, {"selected_options": chosen} if many else {"selected_option": chosen[0]}
        )

    def element(self, ts: str, action_id: str) -> tuple[Json, Json]:
        """The block and the element of that action on that message; LookupError when it is not there."""
        _, message = self.space.find(ts)
        for block in message.get("blocks") or []:
            for element in [*(block.get("elements") or []), block.get("accessory") or {}]:
                if element.get("action_id") == action_id:
                    return block, element
        raise LookupError(f"nothing to act on: {action_id}")

    async def _act(self, user: str, ts: str, action_id: str, extra: Json) -> Answer:
        place, message = self.space.find(ts)
        who, _ = self._place(user, place.id)
        block, element = self.element(ts, action_id)
        values = message.setdefault("_values", {})
        if element["type"] != "button":
            entry = {action_id: {"type": element["type"], **extra}}
            values.setdefault(block.get("block_id", "auto"), {}).update(entry)
        thread = message.get("thread_ts")
        container = {"type": "message", "message_ts": ts, "channel_id": place.id, "is_ephemeral": False}
        action = {"action_id": action_id, "type": element["type"], "block_id": block.get("block_id", "auto"), **extra}
        payload = {"type": "block_actions", **self._base(who), "state": {"values": values}, "message": wire(message)}
        payload |= {"container": {**container, **({"thread_ts": thread} if thread else {})}}
        payload |= {
            "channel": {"id": place.id, "name": place.name},
            "actions": [{**action, "action_ts": self.space.ts()}],
        }
        payload["response_url"] = self.hub.response_url("actions", who.id, place.id, ts)
        return await self.outbox.deliver("interactive", payload)

    async def shortcut(self, user: str, callback_id: str, ts: str = "") -> Answer:
        """Use a message shortcut on that message, or a global one."""
        who = self.space.user(user)
        payload = {**self._base(who), "callback_id": callback_id, "action_ts": self.space.ts(), "type": "shortcut"}
        if ts:
            place, message = self.space.find(ts)
            payload |= {"type": "message_action", "message_ts": ts, "message": wire(message)}
            payload["channel"] = {"id": place.id, "name": place.name}
            payload["response_url"] = self.hub.response_url("actions", who.id, place.id, ts)
        return await self.outbox.deliver("interactive", payload)

    def screen(self, user: str) -> Shown | None:
        """The modal that this user sees."""
        stack = self.space.screens.get(self.space.user(user).id)
        return stack[-1] if stack else None

    async def submit_view(self, user: str, values: Mapping[str, Any] | None = None) -> tuple[Answer, Json]:
        """Fill in the modal on that user's screen and submit it; the answer, and the errors it then shows."""
        shown = self.screen(user)
        assert shown is not None, f"{user} sees no modal"
        shown.view["state"] = slack_views.filled(shown.view, values or {})
        payload = {"type": "view_submission", **self._base(self.space.user(user), shown.id), "view": shown.view}
        answer = await self.outbox.deliver("interactive", {**payload, "response_urls": []})
        errors = slack_views.answered(self.hub, shown, answer.payload) if answer.acked else {}
        return answer, errors

    async def close_view(self, user: str) -> None:
        """Dismiss the modal; the app is told if it asked to be."""
        who = self.space.user(user)
        shown = self.space.screens[who.id].pop()
        if shown.view.get("notify_on_close"):
            payload = {"type": "view_closed", **self._base(who), "view": shown.view, "is_cleared": False}
            await self.outbox.deliver("interactive", payload)

    def stop_stream(self, user: str, ts: str) -> None:
        """Press stop on a message that streams."""
        place, message = self.space.find(ts)
        slack_streams.stopped_by(self.hub, place, message, self.space.user(user).id)

    def archive(self, channel: str, archived: bool = True) -> None:
        place = self.space.channel(channel)
        place.archived = archived
        kind = "channel_archive" if archived else "channel_unarchive"
        event = {"type": kind, "channel": place.id, "user": self.space.user("admin").id}
        self._tell(place, lambda: self.hub.emit({**event, "event_ts": self.space.ts()}))

    def kick(self, channel: str) -> None:
        """Remove the app from a channel."""
        place = self.space.channel(channel)
        place.members.discard(BOT_USER)
        event = {"type": "channel_left", "channel": place.id, "actor_id": self.space.user("admin").id}
        self.hub.emit({**event, "event_ts": self.space.ts()})

    def invite(self, channel: str) -> None:
        """Bring the app into a channel."""
        place = self.space.channel(channel)
        place.members.add(BOT_USER)
        event = {"type": "member_joined_channel", "user": BOT_USER, "channel": place.id, "channel_type": "C"}
        self.hub.emit({**event, "team": TEAM, "event_ts": self.space.ts()})
