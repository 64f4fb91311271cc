"""The Web API over HTTP: tokens, budgets, faults, records; and the addresses beside it for files and answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import slack_chat
import slack_files
import slack_reads
import slack_spec
import slack_streams
import slack_views
from aiohttp import web
from slack_answers import answer_url
from slack_faults import Faults
from slack_hub import Hub
from slack_limits import Rates
from slack_socket import Sockets
from slack_state import Json, Refused

Method = Callable[[Hub, Json, list[str]], Json]
METHODS: dict[str, Method] = {
    **slack_chat.METHODS,
    **slack_streams.METHODS,
    **slack_reads.METHODS,
    **slack_files.METHODS,
    **slack_views.METHODS,
}
PLACED = {"chat.postMessage": "channel", "assistant.threads.setStatus": "thread_ts"}
"""Methods that have a budget for each place as well, and the argument that names it."""
LOGIN = "<!DOCTYPE html><html><body>Sign in to Slack</body></html>"


@dataclass(slots=True)
class Call:
    """One request of the app, as it was answered."""

    time: float
    method: str
    args: Json
    status: int = 200
    error: str = ""
    fault: str = ""
    retry_after: int = 0


@dataclass
class Web:
    """Answers what an app asks."""

    hub: Hub
    rates: Rates
    faults: Faults
    sockets: Sockets
    tokens: dict[str, str]
    revoked: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self.api),
            web.get("/link/", self.link),
            web.post("/upload/v1/{file}", self.upload),
            web.get("/files-pri/{file}/{name}", self.download),
            web.post("/{kind:commands|actions}/{team}/{secret}", self.response_url),
        ]

    async def link(self, request: web.Request) -> web.StreamResponse:
        if self.faults.refusing():
            return cut(request)
        return await self.sockets.serve(request)

    async def api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if self.faults.refusing():
            return cut(request)
        given, bearer = await arguments(request, method)
        call = Call(time.monotonic(), method, given)
        self.calls.append(call)
        return await self._faulty(request, call, lambda: self._answer(call, bearer))

    async def _faulty(self, request: web.Request, call: Call, effect: Callable[[], web.Response]) -> web.StreamResponse:
        await asyncio.sleep(self.faults.wait())
        call.fault = self.faults.pick(call.method)
        kind, _, after = call.fault.partition(" ")
        answer = effect() if not kind or after else None
        self.hub.space.pulse.beat()
        match kind:
            case "429":
                call.status, call.retry_after = 429, 1
                return limited(1)
            case "500":
                call.status = 500
                return web.Response(status=500, text="Internal Server Error")
            case "hang":
                await asyncio.sleep(self.faults.hang_seconds)
                return cut(request)
            case "drop":
                return cut(request)
            case _:
                pass
        assert answer is not None
        return answer

    def _answer(self, call: Call, bearer: str) -> web.Response:
        try:
            self._admit(call.method, bearer)
            wait = self.rates.take(call.method, str(call.args.get(PLACED.get(call.method, ""), "")))
            if wait:
                call.status, call.error, call.retry_after = 429, "ratelimited", wait
                self.hub.breaches.append(f"{call.method}: over its rate, told to wait {wait} s")
                return limited(wait)
            return web.json_response(self._done(call))
        except Refused as refused:
            call.error = refused.error
            if not slack_spec.known_error(call.method, refused.error):
                self.hub.breaches.append(f"the fake itself: {call.method} has no error {refused.error}")
            if refused.error in OVER or refused.error in MISTAKES:
                self.hub.breaches.append(f"{call.method}: {refused.error} {' '.join(refused.messages)}".strip())
            told = {"response_metadata": {"messages": list(refused.messages)}} if refused.messages else {}
            return web.json_response({"ok": False, "error": refused.error, **told})

    def _admit(self, method: str, bearer: str) -> None:
        if not bearer:
            raise Refused("not_authed")
        if bearer in self.revoked:
            raise Refused("token_revoked")
        kind = self.tokens.get(bearer)
        if kind is None:
            raise Refused("invalid_auth")
        if (kind == "app") != (method == "apps.connections.open"):
            raise Refused("not_allowed_token_type")

    def _done(self, call: Call) -> Json:
        args, unknown = slack_spec.read(call.method, call.args)
        if unknown:
            self.hub.breaches.append(f"{call.method}: unknown arguments {', '.join(unknown)}")
        if call.method == "apps.connections.open":
            return {"ok": True, "url": self.sockets.ticket()}
        method = METHODS.get(call.method)
        if method is None:
            raise Refused("unknown_method")
        warnings: list[str] = []
        answer = {"ok": True, **method(self.hub, args, warnings)}
        if warnings:
            self.hub.breaches.append(f"{call.method}: {', '.join(warnings)}")
            answer["warning"] = ",".join(warnings)
            answer["response_metadata"] = {**answer.get("response_metadata", {}), "warnings": warnings}
        return answer

    async def upload(self, request: web.Request) -> web.StreamResponse:
        data = await posted_file(request)
        name = request.match_info["file"]
        call = Call(time.monotonic(), "upload", {"file": name, "size": len(data)})
        self.calls.append(call)

        def effect() -> web.Response:
            call.error = slack_files.take(self.hub.space, name, data)
            call.status = 400 if call.error else 200
            return web.Response(status=call.status, text=call.error or f"OK - {len(data)}")

        return await self._faulty(request, call, effect)

    async def download(self, request: web.Request) -> web.StreamResponse:
        call = Call(time.monotonic(), "download", {"file": request.match_info["file"]})
        self.calls.append(call)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")

        def effect() -> web.Response:
            file = self.hub.space.files.get(call.args["file"])
            if self.tokens.get(bearer) != "bot" or bearer in self.revoked:
                return web.Response(text=LOGIN, content_type="text/html")  # as Slack does: 200 and a page
            if file is None or file.data is None:
                return web.Response(status=404)
            return web.Response(body=file.data, content_type="application/octet-stream")

        return await self._faulty(request, call, effect)

    async def response_url(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call = Call(time.monotonic(), "response_url", body)
        self.calls.append(call)

        def effect() -> web.Response:
            try:
                answer_url(self.hub, request.match_info["secret"], body)
            except Refused as refused:
                call.error, call.status = refused.error, 404
                return web.json_response({"ok": False, "error": refused.error}, status=404)
            return web.Response(text="ok")

        return await self._faulty(request, call, effect)


OVER = {
    *("msg_too_long", "msg_blocks_too_long", "msg_blocks_too_many", "metadata_too_large", "no_text", "view_too_large"),
    *("markdown_text_conflict", "unknown_method", "not_authed", "push_limit_reached", "missing_recipient_user_id"),
    *("missing_recipient_team_id", "not_allowed_token_type", "streaming_mode_mismatch"),
    "cannot_provide_both_markdown_text_and_chunks",
}
MISTAKES = {
    *("invalid_arguments", "invalid_blocks", "invalid_blocks_format", "invalid_chunks", "invalid_metadata_format"),
    *("invalid_metadata_schema", "invalid_name", "invalid_cursor", "invalid_thread_ts", "invalid_trigger_id"),
}
"""Errors that are the app's own mistake, whatever the workspace did meanwhile."""


def limited(wait: int) -> web.Response:
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(wait)})


def cut(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def arguments(request: web.Request, method: str) -> tuple[Json, str]:
    """The arguments as sent, and the token; a JSON body is read only by the methods that take one."""
    given: Json = dict(request.query)
    if request.content_type == "application/json":
        if slack_spec.takes_json(method):
            given |= json.loads(await request.text() or "{}")
    else:
        given |= {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    token = given.pop("token", "")
    return given, request.headers.get("Authorization", "").removeprefix("Bearer ") or token


async def posted_file(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    fields: Any = await request.post()
    return b"".join(part.file.read() for part in fields.values() if isinstance(part, web.FileField))
