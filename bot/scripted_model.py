"""A model API that follows a script: Anthropic's Messages API on loopback, for the demo, the bench and the tests."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import signal
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from bot import messages_api as wire
from bot.script import Cut, Delay, Fail, Script, Step, Turn, load

KEPT_REQUESTS = 64
KEPT_COUNTS = 4096
LARGEST_REQUEST = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that reached the model, and the status it got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int


class ScriptedModel:
    """Serves POST /v1/messages on 127.0.0.1 while entered."""

    def __init__(self, script: Script | Mapping[str, Sequence[Step]], *, port: int = 0, key: str | None = None) -> None:
        self._script = script if isinstance(script, Script) else Script(script)
        self._port = port
        self._key = key
        self._troubled: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self.requests: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        """The last requests, oldest first."""

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if (request.method, request.path) == ("HEAD", "/"):
            return web.Response()
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return self._refuse(request, None, 404)
        if self._key is not None and not self._known(request):
            return self._refuse(request, None, 401)
        try:
            body = await request.json()
        except ValueError:
            return self._refuse(request, None, 400, "The request body is not valid JSON")
        if "anthropic-version" not in request.headers:
            return self._refuse(request, body, 400, "anthropic-version: header is required")
        complaint = wire.invalid(body)
        if complaint:
            return self._refuse(request, body, 400, complaint)
        return await self._answer(request, body)

    def _known(self, request: web.Request) -> bool:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key") or bearer
        return hmac.compare_digest(given.encode(), (self._key or "").encode())

    def _refuse(
        self, request: web.Request, body: Any, status: int, message: str = "", headers: Mapping[str, str] | None = None
    ) -> web.Response:
        self._note(request, body, status)
        return web.json_response(wire.error(status, message), status=status, headers=headers)

    def _note(self, request: web.Request, body: Any, status: int) -> None:
        self.requests.append(Seen(request.method, request.path, dict(request.headers), body, status))

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        word, number, turn = self._script.turn(body["messages"])
        where = (request.headers.get("X-Claude-Code-Session-Id", ""), word, str(number), str(len(body["messages"])))
        cut = -1
        for index, trouble in enumerate(turn.troubles):
            match trouble:
                case Delay(seconds):
                    await asyncio.sleep(seconds)
                case Fail(status, times, headers, message) if self._still(times, *where, str(index)):
                    return self._refuse(request, body, status, message, headers)
                case Cut(after, times) if self._still(times, *where, str(index)):
                    cut = after
                case _:
                    pass
        self._note(request, body, 200)
        if not body.get("stream"):
            return web.json_response(wire.whole(body["model"], turn.blocks))
        return await self._stream(request, body["model"], turn, cut)

    def _still(self, times: int, *where: str) -> bool:
        """Whether a trouble that happens so many times (0: always) happens again; counts it."""
        count = self._troubled.pop(where, 0) + 1
        self._troubled[where] = count
        if len(self._troubled) > KEPT_COUNTS:
            self._troubled.popitem(last=False)
        return times == 0 or count <= times

    async def _stream(self, request: web.Request, model: str, turn: Turn, cut: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        try:
            for number, (data, pause) in enumerate(wire.stream(model, turn.blocks)):
                if pause:
                    await asyncio.sleep(pause)
                if number == cut and request.transport is not None:
                    request.transport.abort()
                    break
                await response.write(data)
            await response.write_eof()
        except ConnectionError:  # the client went away: nobody is left to tell
            pass
        return response


async def _run(options: argparse.Namespace) -> None:
    script = load(options.script.read_text())
    key = options.key_file.read_text().strip() if options.key_file else None
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ScriptedModel(script, port=options.port, key=key) as model:
        print(json.dumps({"url": model.url}), flush=True)  # noqa: T201 - whoever started it reads this line
        await stop.wait()


def main() -> None:
    """Serve a script until told to stop; the first line of stdout is {"url": …}."""
    parser = argparse.ArgumentParser(prog="python -m bot.scripted_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", type=Path, required=True, help="a script as JSON")
    parser.add_argument("--key-file", type=Path, help="refuse requests without this key")
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
