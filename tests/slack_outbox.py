"""What Slack sends to the app: over its sockets, or signed over HTTP; retried as Slack retries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
from slack_faults import Faults
from slack_socket import Lost, Sockets
from slack_state import APP, BOT_USER, TEAM, Json, Workspace

SECRET = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Answer:
    """How the app took one request: acknowledged or not, with what, after how many seconds and attempts."""

    acked: bool
    payload: Any = None
    seconds: float = 0
    attempts: int = 1
    error: str = ""


@dataclass
class Outbox:
    """The way to the app; with an `endpoint` by HTTP, else by socket."""

    space: Workspace
    sockets: Sockets
    faults: Faults
    endpoint: str = ""
    secret: str = SECRET
    ack_seconds: float = 3
    retries: tuple[float, ...] = (0, 60, 300)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _http: aiohttp.ClientSession | None = None

    def event(self, event: Json) -> None:
        """Send an event in the background, again and again as Slack does until it is acknowledged."""
        payload: Json = {"token": "verification", "team_id": TEAM, "context_team_id": TEAM, "api_app_id": APP}
        authorization = {"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True}
        payload |= {"context_enterprise_id": None, "event": event, "type": "event_callback"}
        payload |= {"event_id": self.space.id("Ev"), "event_time": int(time.time()), "is_ext_shared_channel": False}
        payload["authorizations"] = [{**authorization, "is_enterprise_install": False}]
        payload["event_context"] = f"4-{self.space.id('')}"
        # As it is now: a message that changes before it is sent must not change what is told of it.
        task = asyncio.create_task(self._event(json.loads(json.dumps(payload))))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _event(self, payload: Json) -> None:
        if self.faults.reorder:
            await asyncio.sleep(self.faults.dice.uniform(0, self.faults.reorder))
        answer = await self.deliver("events_api", payload)
        self.answers.append((payload["event"]["type"], answer))
        self.space.pulse.beat()
        if self.faults.chance(self.faults.repeats):
            with suppress(Lost, TimeoutError, aiohttp.ClientError):
                await self._once("events_api", payload, 1, "timeout")

    async def deliver(self, kind: str, payload: Json) -> Answer:
        """Send until acknowledged: events by the schedule of retries, the rest within one deadline."""
        began, delays, attempt, reason = time.monotonic(), list(self.retries), 0, ""
        while True:
            try:
                found = await self._once(kind, payload, attempt, reason)
                return Answer(True, found, time.monotonic() - began, attempt + 1)
            except Lost:
                # A socket that broke says nothing of the app: the next one gets it, without a place in the schedule.
                reason = "socket_closed"
                if kind != "events_api" and time.monotonic() - began > self.ack_seconds:
                    return Answer(False, None, time.monotonic() - began, attempt + 1, reason)
            except (TimeoutError, aiohttp.ClientError) as error:
                reason = "http_timeout" if isinstance(error, TimeoutError) else "http_error"
                given_up = kind != "events_api" or not delays or "no-retry" in str(error)
                if given_up:
                    return Answer(False, None, time.monotonic() - began, attempt + 1, str(error) or reason)
                await asyncio.sleep(delays.pop(0))
            attempt += 1

    async def _once(self, kind: str, payload: Json, attempt: int, reason: str) -> Any:
        if not self.endpoint:
            return await self.sockets.send(kind, payload, attempt, reason, self.ack_seconds)
        async with asyncio.timeout(self.ack_seconds):
            status, headers, body = await self.post(kind, payload, attempt, reason)
        if status >= 300:
            note = " no-retry" if headers.get("X-Slack-No-Retry") == "1" else ""
            raise aiohttp.ClientError(f"http {status}{note}")
        if headers.get("Content-Type", "").startswith("application/json") and body:
            return json.loads(body)
        return {"text": body} if body else None

    async def post(
        self, kind: str, payload: Json, attempt: int = 0, reason: str = "", *, secret: str = "", age: float = 0
    ) -> tuple[int, Json, str]:
        """One signed request to the app's endpoint: status, headers and body of the answer."""
        if kind == "events_api":
            body, content = json.dumps(payload), "application/json"
        else:
            fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            body, content = urlencode(fields), "application/x-www-form-urlencoded"
        headers = {"Content-Type": content, **signed(secret or self.secret, body, time.time() - age)}
        if attempt:
            headers |= {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": reason}
        if self._http is None:
            self._http = aiohttp.ClientSession()
        async with self._http.post(self.endpoint, data=body, headers=headers) as answer:
            return answer.status, dict(answer.headers), await answer.text()

    async def settled(self, seconds: float = 10) -> None:
        """Return when every event was acknowledged or given up."""
        async with asyncio.timeout(seconds):
            while self._tasks:
                await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()


def signed(secret: str, body: str, at: float) -> dict[str, str]:
    """The headers that prove a request to be Slack's."""
    stamp = str(int(at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "User-Agent": "Slackbot 1.0"}
