"""Discord as a chat: threads of posts, kept as they should be; what people do there is in discord_inbound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from adapters import discord_render as render
from adapters.discord_commands import registered
from adapters.discord_inbound import Inbound
from adapters.discord_limits import ARCHIVED, HAS_THREAD, OLD_EDITS, UNKNOWN_MESSAGE, Limits, refusals
from bot.board import HoldBack
from bot.budget import Budget, Urgency
from bot.config_chat import Discord as Settings
from bot.errors import ThreadGone, UserError
from bot.posts import Post
from bot.serve import Connection
from bot.service import Service

log = logging.getLogger(__name__)
T = TypeVar("T")

_WEEK: Final = 10080
"""Minutes without a message until Discord folds a thread away; the most it takes."""
_BACKOFF = (0.5, 2, 10, 60)
_READ_BACK = 5000
"""Messages of a thread that are read back at most."""
_TRIES = 5


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Discord as `rdev serve` runs it."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # rdev does not speak
    chat = Discord(settings)
    yield Connection(chat, chat.run)


class Discord:
    """The bot on Discord; see bot.board.Chat. Made inside a running event loop."""

    name = "discord"
    limit = render.LIMIT

    def __init__(self, settings: Settings) -> None:
        if settings.token.value is None:
            raise UserError(f"The Discord bot's token is not in {settings.token.source}; rdev setup discord tells how.")
        self._settings = settings
        self._token = settings.token.value
        self._limits = Limits()
        self._client: discord.Client | None = None
        self._logged_in = asyncio.Event()
        # The library keeps its addresses as class attributes, made to be set before anything begins.
        Route.BASE = settings.api_url
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)

    async def run(self, service: Service) -> None:
        """Be there until cancelled, whatever the connection does.

        Raises UserError where Discord will never let us in.
        """
        attempt = 0
        inbound = Inbound(service, self._limits)
        while True:
            began = asyncio.get_running_loop().time()
            client = self._made(inbound)
            try:
                await self._live(client)
            except discord.LoginFailure as error:
                raise UserError("Discord does not know the bot's token; see [discord] in the configuration.") from error
            except discord.PrivilegedIntentsRequired as error:
                raise UserError(
                    "The bot may not read messages: switch on “Message Content Intent” under Bot at "
                    "https://discord.com/developers/applications, then start again."
                ) from error
            # discord.py 2.7.1 ends with errors of its own on a gateway that is down at start, and on odd payloads.
            except Exception as error:  # noqa: BLE001 - what ends is begun again
                log.warning("the connection to Discord ended: %r", error)
            finally:
                self._logged_in.clear()
                self._client = None
                await client.close()
            attempt = 0 if asyncio.get_running_loop().time() - began > _BACKOFF[-1] else attempt
            await asyncio.sleep(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
            attempt += 1

    def budget(self, thread: str, *, edit: bool) -> Budget:
        """What may be sent to the thread."""
        return self._limits.of(thread, edit=edit)

    async def open(self, title: str, channel: str) -> str:
        """A thread on a message (`channel/message`), or without one (`channel`)."""
        place, _, message = channel.partition("/")
        try:
            return await self._patiently(lambda: self._thread(title[:100], place, message))
        except ThreadGone as error:
            raise UserError(
                "I may not open a thread here: I need “Create Public Threads”, “Send Messages in Threads” and "
                "“Read Message History” in this channel."
            ) from error

    async def post(self, thread: str, job: str, post: Post) -> str:
        """A new message; the same one when it was made already and its answer lost."""
        try:
            message = await self._post(thread, job, post)
        except discord.HTTPException as error:
            log.error("Discord does not take a post: %s", error, extra={"job": job})
            return str((await self._post(thread, job, render.fallback(post))).id)
        if render.words(message) != render.said(post):
            await self.edit(thread, str(message.id), job, post)
        return str(message.id)

    async def edit(self, thread: str, message: str, job: str, post: Post) -> None:
        """Bring a message to what the post says now; one that people deleted stays deleted."""
        try:
            await self._edit(thread, message, job, post)
        except discord.HTTPException as error:
            log.error("Discord does not take an edit: %s", error, extra={"job": job})
            plain = render.fallback(post)
            await self._edit(thread, message, job, plain, attachments=render.files(plain))

    async def _post(self, thread: str, job: str, post: Post) -> discord.Message:
        place = await self._place(thread)
        extra: Mapping[str, Any] = {"files": render.files(post)} if post.file else {}
        with refusals(f"thread {thread}"):
            return await place.send(
                view=render.layout(job, post),
                nonce=render.nonce(thread, job, post),
                silent=not post.loud,
                allowed_mentions=render.notified(post),
                **extra,
            )

    async def _edit(self, thread: str, message: str, job: str, post: Post, **extra: Any) -> None:
        place = await self._place(thread)
        partial = place.get_partial_message(int(message))
        with refusals(f"thread {thread}"):
            try:
                await partial.edit(view=render.layout(job, post), allowed_mentions=render.NOBODY, **extra)
            except discord.HTTPException as error:
                if error.code in (UNKNOWN_MESSAGE, OLD_EDITS):
                    log.info("a message is not edited: %s", error.text, extra={"job": job})
                    return
                if error.code != ARCHIVED:
                    raise
                await self._unarchive(thread)
                await partial.edit(view=render.layout(job, post), allowed_mentions=render.NOBODY, **extra)

    async def find(self, thread: str, job: str) -> dict[int, str]:
        """Read the thread back, to the job's first post."""
        return await self._patiently(lambda: self._found(thread, job))

    def _made(self, inbound: Inbound) -> discord.Client:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        kind = discord.AutoShardedClient if self._settings.shards else discord.Client
        client = kind(
            intents=intents,
            allowed_mentions=render.NOBODY,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            guild_ready_timeout=0,
            http_trace=self._limits.trace(),
        )
        client.event(inbound.on_interaction)
        client.event(inbound.on_message)

        async def on_ready() -> None:
            await inbound.catch_up(client)

        client.event(on_ready)
        return client

    async def _live(self, client: discord.Client) -> None:
        await client.login(self._token.get_secret_value())
        await self._register(client)
        self._client = client
        self._logged_in.set()
        log.info("on Discord as %s", client.user)
        await client.connect()

    async def _register(self, client: discord.Client) -> None:
        assert client.application_id is not None  # known from login on
        for guild in self._settings.guilds:
            await client.http.bulk_upsert_guild_commands(client.application_id, guild, registered())
        if not self._settings.guilds:
            await client.http.bulk_upsert_global_commands(client.application_id, registered())

    async def _online(self) -> discord.Client:
        while (client := self._client) is None:
            await self._logged_in.wait()
        return client

    async def _place(self, thread: str) -> discord.PartialMessageable:
        return (await self._online()).get_partial_messageable(int(thread))

    async def _thread(self, title: str, place: str, message: str) -> str:
        client = await self._online()
        await self._limits.everything.take(Urgency.REPLY)
        with refusals(f"channel {place}"):
            if not message:
                made = await client.http.start_thread_without_message(
                    int(place), name=title, auto_archive_duration=_WEEK, type=11
                )
                return str(made["id"])
            try:
                made = await client.http.start_thread_with_message(
                    int(place), int(message), name=title, auto_archive_duration=_WEEK
                )
            except discord.HTTPException as error:
                if error.code != HAS_THREAD:
                    raise
                return message  # made already, and the answer lost: a message's thread has its id
            return str(made["id"])

    async def _unarchive(self, thread: str) -> None:
        client = await self._online()
        await client.http.edit_channel(int(thread), archived=False)

    async def _found(self, thread: str, job: str) -> dict[int, str]:
        client = await self._online()
        place, ours = await self._place(thread), client.user
        there: dict[int, str] = {}
        with refusals(f"thread {thread}"):
            async for message in place.history(limit=_READ_BACK):
                if ours is not None and message.author.id == ours.id:
                    there |= dict.fromkeys(render.markers(message), str(message.id))
                if render.marker(job, 1) in there:
                    break
        return render.indexed(job, there)

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask again, as often as is reasonable, when Discord wants us to wait."""
        for _ in range(_TRIES - 1):
            try:
                return await ask()
            except HoldBack as error:
                await asyncio.sleep(error.seconds)
        return await ask()
