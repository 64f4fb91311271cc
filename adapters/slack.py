"""Slack as a chat of posts: threads of messages that are edited in place."""

from __future__ import annotations

import logging
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack_api import Budgets, Refused, call, patiently
from adapters.slack_render import EVENT_TYPE, message, metadata
from adapters.slack_text import escape
from bot.budget import Budget, Urgency
from bot.errors import ThreadGone, UserError
from bot.posts import Post

log = logging.getLogger(__name__)

_PAGE = 999
_QUIETLY: dict[str, Any] = {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}


class SlackChat:
    """A workspace; a thread's id is `<channel>/<timestamp of its first message>`."""

    name = "slack"
    limit = 3_500

    def __init__(self, web: AsyncWebClient, budgets: Budgets) -> None:
        self._web = web
        self._budgets = budgets
        self._uploaded: set[tuple[str, str]] = set()

    def budget(self, thread: str, *, edit: bool) -> Budget:
        """One post a second in a channel; edits by thread, within those of the workspace."""
        return self._budgets.edits(thread) if edit else self._budgets.posts(thread.partition("/")[0])

    async def open(self, title: str, channel: str) -> str:
        """A new thread in the channel, or the thread itself where it is named: `<channel>/<timestamp>`."""
        if "/" in channel:
            return channel
        if not channel:
            raise UserError("In which channel? Write this in one that rdev was invited to.")
        try:
            answer = await patiently(
                self._budgets.posts(channel),
                Urgency.REPLY,
                lambda: self._web.chat_postMessage(channel=channel, text=f"*{escape(title)}*", **_QUIETLY),
            )
        except ThreadGone as error:
            raise UserError(f"rdev cannot write here ({error}). Invite it first: /invite @rdev") from error
        return f"{channel}/{answer['ts']}"

    async def post(self, thread: str, job: str, post: Post) -> str:
        """A message with the post's job and place in its metadata; a file goes up first, and once."""
        channel, _, root = thread.partition("/")
        if post.file and (thread, job) not in self._uploaded:
            await self.upload(thread, f"{job}.md", post.file)
            self._uploaded.add((thread, job))
        shown = message(job, post)
        request = self._web.chat_postMessage(
            channel=channel, thread_ts=root, metadata=metadata(job, post), **shown, **_QUIETLY
        )
        answer = await call(request)
        self._uploaded.discard((thread, job))
        return str(answer["ts"])

    async def edit(self, thread: str, message_id: str, job: str, post: Post) -> None:
        """Bring a message to what the post says; one that somebody deleted stays away."""
        channel, _, _ = thread.partition("/")
        shown = message(job, post)
        kept: dict[str, Any] = {"metadata": metadata(job, post), "parse": "none", "link_names": False}
        try:
            await call(self._web.chat_update(channel=channel, ts=message_id, **shown, **kept))
        except Refused as error:
            if error.error != "message_not_found":
                raise
            log.warning("somebody deleted a post; it is left away", extra={"job": job})

    async def find(self, thread: str, job: str) -> dict[int, str]:
        """Our messages of the job that are in the thread, by what their metadata says."""
        found: dict[int, str] = {}
        channel, _, root = thread.partition("/")
        cursor = ""
        while True:
            page = await self._replies(channel, root, cursor)
            for each in page["messages"]:
                if any(file.get("name") == f"{job}.md" for file in each.get("files") or ()):
                    self._uploaded.add((thread, job))
                said = each.get("metadata") or {}
                if said.get("event_type") == EVENT_TYPE and said["event_payload"].get("job") == job:
                    found.setdefault(int(said["event_payload"]["index"]), str(each["ts"]))
            cursor = (page.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                return found

    async def _replies(self, channel: str, root: str, cursor: str) -> dict[str, Any]:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        return await patiently(
            self._budgets.reads,
            Urgency.REPLY,
            lambda: self._web.conversations_replies(
                channel=channel, ts=root, limit=_PAGE, include_all_metadata=True, **more
            ),
        )

    async def upload(self, thread: str, name: str, text: str) -> None:
        """Put a text into the thread as a file."""
        channel, _, root = thread.partition("/")
        data = text.encode("utf-8", "replace")
        place = await patiently(
            self._budgets.files,
            Urgency.FINAL,
            lambda: self._web.files_getUploadURLExternal(filename=name, length=len(data)),
        )
        await self._send(place["upload_url"], data)
        files = [{"id": place["file_id"], "title": name}]
        await patiently(
            self._budgets.files,
            Urgency.FINAL,
            lambda: self._web.files_completeUploadExternal(files=files, channel_id=channel, thread_ts=root),
        )

    async def _send(self, url: str, data: bytes) -> None:
        session = self._web.session
        assert session is not None  # the client is made with one
        async with session.post(url, data=data, headers={"Content-Type": "application/octet-stream"}) as answer:
            answer.raise_for_status()
