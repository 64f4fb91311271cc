"""What Discord lets us send, learnt from the headers of its answers, and what its refusals mean."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import aiohttp
import discord

from bot.board import HoldBack
from bot.budget import Budget
from bot.errors import ThreadGone

UNKNOWN_MESSAGE, ARCHIVED, OLD_EDITS = 10008, 50083, 30046
ALREADY_ACKNOWLEDGED, HAS_THREAD = 40060, 160004
_GONE = frozenset({10003, 10004, 50001, 50013, ARCHIVED})
"""Unknown channel or guild, no access, no permission, archived and not ours to open."""
_KEPT = 4096
"""Channels whose budgets are remembered."""
_MESSAGES = re.compile(r"/channels/(\d+)/messages(?:/\d+)?$")


class Limits:
    """One budget for new messages and one for edits of each channel, above the global one."""

    def __init__(self) -> None:
        # 50 a second in all; some room is left for what goes past the budgets: reactions, threads, read-backs.
        self.everything = Budget(40, 6, reserve=2)
        self._channels: OrderedDict[tuple[str, bool], Budget] = OrderedDict()

    def of(self, channel: str, *, edit: bool) -> Budget:
        """What may be sent to a channel or thread."""
        budget = self._channels.get((channel, edit))
        if budget is None:
            # Discord's windows give 5 in 5 s of each; a little slower, an even pace never meets a window's end.
            budget = Budget(0.97, 2 if edit else 4, below=self.everything)
            self._channels[channel, edit] = budget
            while len(self._channels) > _KEPT:
                self._channels.popitem(last=False)
        self._channels.move_to_end((channel, edit))
        return budget

    def trace(self) -> aiohttp.TraceConfig:
        """Reads the headers of every answer; discord.py does so too, but tells nobody."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        return trace

    async def _answered(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        headers = params.response.headers
        if params.response.status == 429 and headers.get("X-RateLimit-Global"):
            self.everything.hold(_seconds(headers, "Retry-After"))
            return
        place = _MESSAGES.search(params.url.path)
        if place is None or params.method not in ("POST", "PATCH"):
            return
        budget = self._channels.get((place[1], params.method == "PATCH"))
        if budget is None:
            return
        if params.response.status == 429:
            budget.hold(_seconds(headers, "Retry-After"))
        elif headers.get("X-RateLimit-Remaining") == "0":
            budget.hold(_seconds(headers, "X-RateLimit-Reset-After"))


def _seconds(headers: Mapping[str, str], name: str) -> float:
    try:
        return min(600.0, max(0.0, float(headers.get(name, "1"))))
    except ValueError:
        return 1.0


@contextmanager
def refusals(place: str) -> Iterator[None]:
    """Say what Discord's refusals mean for a thread: it is gone, or wants us to wait; others are raised as they are."""
    try:
        yield
    except discord.RateLimited as error:
        raise HoldBack(error.retry_after) from error
    except discord.HTTPException as error:
        if error.code in _GONE:
            raise ThreadGone(f"Discord refuses to show anything in {place}: {error.text or error.code}") from error
        if error.code == OLD_EDITS:
            raise
        if error.status == 429:
            raise HoldBack(_seconds(error.response.headers, "Retry-After")) from error
        if error.status >= 500:
            raise HoldBack(2) from error
        raise
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise HoldBack(1) from error
