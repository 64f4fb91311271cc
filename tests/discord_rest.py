"""The REST side: who asks, limits, faults, the record of every request, and refusals as answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import discord_spec
from aiohttp import BodyPartReader, web
from discord_faults import Fault, Faults
from discord_limits import Limits, Verdict
from discord_nouns import Upload
from discord_refusals import Refusal
from discord_state import State
from discord_wire import Wire

PREFIX = "/api/v10"
BY_TOKEN = ("/interactions/", "/webhooks/")


@dataclass
class Request:
    """One request as it came, and what became of it."""

    time: float  # monotonic seconds
    method: str
    route: str  # the path's template
    path: str
    ids: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None
    files: list[Upload] = field(default_factory=list)
    status: int = 0
    code: int = 0  # Discord's own, of a refusal
    answer: Any = None
    over: bool = False  # it came over a documented limit
    injected: bool = False  # the answer is a fault that the test ordered
    took: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"


Handler = Callable[[State, Request], Any]  # answers a body (200), (status, body), or None (204)


async def read(request: web.Request) -> tuple[Any, list[Upload]]:
    """The JSON body and the files, of JSON or of multipart."""
    if not request.can_read_body:
        return None, []
    if not request.content_type.startswith("multipart/"):
        raw = await request.read()
        try:
            return (json.loads(raw) if raw else None), []
        except ValueError as error:
            raise Refusal(400, 50109, "The request body contains invalid JSON.") from error
    body: Any = None
    files: dict[int, Upload] = {}
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read())
        if part.name == "payload_json":
            body = json.loads(data)
        elif part.name and part.name.startswith("files["):
            kind = part.headers.get("Content-Type", "application/octet-stream")
            files[int(part.name[6:-1])] = Upload(part.filename or "file", data, media_type=kind)
    return body, [files[index] for index in sorted(files)]


def answer(status: int, body: Any, headers: Mapping[str, str]) -> web.Response:
    """Discord's exact content type: the client compares it whole."""
    if body is None:
        return web.Response(status=status, headers=headers)
    raw = json.dumps(body).encode()
    return web.Response(status=status, body=raw, headers={**headers, "Content-Type": "application/json"})


def limited(wait: float, scope: str, headers: Mapping[str, str]) -> web.Response:
    """A 429 as Discord's edge sends it."""
    body = {"message": "You are being rate limited.", "retry_after": round(wait, 3), "global": scope == "global"}
    told = {"Via": "1.1 google", "Retry-After": str(int(wait) + 1), "X-RateLimit-Scope": scope}
    return answer(429, body, {**headers, **told})


@dataclass
class Rest:
    """Serves the routes of the state; `requests` is everything that was asked, in order."""

    state: State
    token: str
    limits: Limits
    faults: Faults
    requests: list[Request] = field(default_factory=list)

    def install(self, app: web.Application, routes: Mapping[str, Handler]) -> None:
        for name, handler in routes.items():
            method, template = name.split(" ")
            app.router.add_route(method, PREFIX + template, self._served(template, handler))
        app.router.add_route("*", PREFIX + "/{rest:.*}", self._served("/{rest}", nothing_here))

    def _served(self, template: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            start = time.monotonic()
            ids = dict(request.match_info)
            record = Request(start, request.method, template, request.path, ids, dict(request.query))
            self.requests.append(record)
            response = await self._answer(request, record, handler)
            record.status, record.took = response.status, time.monotonic() - start
            self.state.changed()
            return response

        return serve

    async def _answer(self, request: web.Request, record: Request, handler: Handler) -> web.StreamResponse:
        fault = self.faults.of(record.name)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if not record.route.startswith(BY_TOKEN) and request.headers.get("Authorization") != f"Bot {self.token}":
            return answer(401, {"message": "401: Unauthorized", "code": 0}, {})
        try:
            record.body, record.files = await read(request)
        except Refusal as refusal:
            return answer(refusal.status, refusal.body, {})
        rename = record.name == "PATCH /channels/{channel_id}" and "name" in (record.body or {})
        verdict = self.limits.take(record.name, record.ids, rename=rename)
        if verdict.retry_after:
            record.over = True
            return limited(verdict.retry_after, verdict.scope, verdict.headers)
        if fault.status and not fault.after:
            return self._fail(request, record, fault)
        response = self._handle(record, handler, verdict)
        return self._fail(request, record, fault) if fault.status else response

    def _handle(self, record: Request, handler: Handler, verdict: Verdict) -> web.Response:
        try:
            result = handler(self.state, record)
        except Refusal as refusal:
            record.code = refusal.code
            return answer(refusal.status, refusal.body, {**verdict.headers, **refusal.headers})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # A body of another shape than documented ends here: Discord calls it invalid.
            record.code = 50035
            return answer(400, {"message": f"Invalid Form Body: {error!r}", "code": 50035}, verdict.headers)
        if result is None:
            return answer(204, None, verdict.headers)
        status, body = result if isinstance(result, tuple) else (200, result)
        record.answer = json.loads(json.dumps(body))
        return answer(status, body, verdict.headers)

    def _fail(self, request: web.Request, record: Request, fault: Fault) -> web.StreamResponse:
        record.injected = True
        if fault.status == "cut":
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=502)
        if fault.status == 429:
            return limited(fault.retry_after, "shared", {})
        return answer(int(fault.status), {"message": "upstream connect error", "code": 0}, {})

    # -- what a test asks of the record --------------------------------------------------------------------------

    def count(self, status: int) -> int:
        """Answers of a status, injected ones included."""
        return sum(one.status == status for one in self.requests)

    def over(self) -> list[Request]:
        """The requests that came over a documented limit."""
        return [one for one in self.requests if one.over]

    def refused(self) -> list[Request]:
        """The requests that Discord would refuse whatever the moment."""
        return [one for one in self.requests if 400 <= one.status < 500 and one.status != 429 and not one.injected]

    def violations(self) -> list[str]:
        """What the published document has against the requests, a sentence each."""
        return [words for one in self.requests for words in discord_spec.faults(one.method, one.route, one.body)]

    def misanswers(self) -> list[str]:
        """What the published document has against the answers given here, a sentence each."""
        asked = [one for one in self.requests if one.answer is not None and 200 <= one.status < 300]
        return [
            words
            for one in asked
            for words in discord_spec.answer_faults(one.method, one.route, one.status, one.answer)
        ]


def nothing_here(_state: State, _request: Request) -> tuple[int, Wire]:
    """The answer to a path that is no route."""
    return 404, {"message": "404: Not Found", "code": 0}
