"""`rdev serve`: the service with the chats that are configured, until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bot.board import Chat
from bot.service import Service


@dataclass(frozen=True, slots=True)
class Connection:
    """A chat: where posts go, and what brings in what people do; `run` returns only when cancelled."""

    chat: Chat
    run: Callable[[Service], Awaitable[None]]


async def until_told(service: AbstractAsyncContextManager[Service], connections: Sequence[Connection]) -> None:
    """Serve until SIGTERM or SIGINT; running jobs go on in their boxes.

    Raises what a connection ends with, such as UserError for a token that is not known.
    """
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with service as running:
        tasks = [asyncio.create_task(_run(each, running), name=f"chat {each.chat.name}") for each in connections]
        end = asyncio.create_task(told.wait(), name="told to end")
        done, pending = await asyncio.wait([end, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()


async def _run(connection: Connection, service: Service) -> None:
    await connection.run(service)
