"""Telling a person on Discord what came of what they did: at once, to them alone where it is theirs alone."""

from __future__ import annotations

import io
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

from adapters import discord_render as render
from adapters.discord_limits import ALREADY_ACKNOWLEDGED
from bot.reply import Reply

log = logging.getLogger(__name__)
Interaction = discord.Interaction[discord.Client]

_TOO_LATE = 10062
_SHOWN = 3500
"""Characters of a reply; more of it is a file."""


async def acknowledged(acknowledge: Callable[[], Awaitable[Any]]) -> bool:
    """Answer within Discord's three seconds; False when it was too late, and the person has been told of a failure."""
    try:
        await acknowledge()
    except discord.HTTPException as error:
        if error.code == ALREADY_ACKNOWLEDGED:
            return True  # our answer had reached Discord, and Discord's was lost
        log.warning("an interaction could not be answered: %s", error)
        return False
    return True


async def deferred(interaction: Interaction) -> bool:
    """Say that an answer for the person alone is coming."""
    return await acknowledged(lambda: interaction.response.defer(ephemeral=True, thinking=True))


async def noted(interaction: Interaction) -> bool:
    """Say that a click has arrived; the message will change by itself."""
    return await acknowledged(interaction.response.defer)


async def begun(interaction: Interaction, text: str) -> str:
    """Answer for all to see, where a thread is going to hang; the message's id, empty when it was too late."""
    view = shown(text)

    made: list[int | None] = []

    async def send() -> None:
        answer = await interaction.response.send_message(view=view, silent=True, allowed_mentions=render.NOBODY)
        made.append(answer.message_id)

    if not await acknowledged(send):
        return ""
    return str((made and made[0]) or (await interaction.original_response()).id)


async def finish(interaction: Interaction, reply: Reply) -> None:
    """Bring the deferred answer to what came of it."""
    text = _with_thread(reply, str(interaction.channel_id or ""))
    view, files = composed(text or "Done.", reply)
    await interaction.edit_original_response(view=view, attachments=files, allowed_mentions=render.NOBODY)


async def finish_public(interaction: Interaction, message: str, reply: Reply) -> None:
    """Leave the public answer as it is, add what is to be said, or take it back and tell the person alone."""
    if reply.error:
        await interaction.delete_original_response()
        await whisper(interaction, reply)
    elif (text := _with_thread(reply, message)) != "":
        view, files = composed(text, reply)
        await interaction.edit_original_response(view=view, attachments=files, allowed_mentions=render.NOBODY)


async def whisper(interaction: Interaction, reply: Reply) -> None:
    """Tell the person alone, beside what is there."""
    view, files = composed(reply.text, reply)
    extra: dict[str, Any] = {"files": files} if files else {}
    await interaction.followup.send(view=view, ephemeral=True, allowed_mentions=render.NOBODY, **extra)


async def beside(message: discord.Message, reply: Reply) -> None:
    """Answer a message where it was written, without a notification."""
    view, files = composed(reply.text, reply)
    extra: dict[str, Any] = {"files": files} if files else {}
    reference = message.to_reference(fail_if_not_exists=False)
    await message.channel.send(
        view=view, reference=reference, silent=True, allowed_mentions=render.NOBODY, nonce=f"r{message.id}", **extra
    )


def shown(text: str) -> ui.LayoutView:
    """A sentence as a message."""
    view = render.finished()
    view.add_item(ui.TextDisplay(text))
    return view


def composed(text: str, reply: Reply) -> tuple[ui.LayoutView, list[discord.File]]:
    """A reply as a message: sentences as they are, tables and output in even columns, long ones as a file."""
    files = []
    if len(text) > _SHOWN:
        files.append(discord.File(io.BytesIO(text.encode("utf-8", "replace")), "reply.txt"))
        text = text[:_SHOWN].rsplit("\n", 1)[0] + "\n…"
    if "\n" in text:
        text = "```\n" + text.replace("```", "`\u200b``") + "\n```"
    elif not text.startswith("<#"):
        text = render.ACTOR.sub(r"<@\1>", discord.utils.escape_markdown(text))
    view = shown(text)
    for file in files:
        view.add_item(ui.File(f"attachment://{file.filename}"))
    for ask in reply.asks:
        view.add_item(render.confirm(ask.id))
    return view, files


def _with_thread(reply: Reply, here: str) -> str:
    """The reply's text, with a link to where the work is shown if that is elsewhere."""
    if not reply.thread or reply.thread == here or not reply.job:
        return reply.text
    return f"<#{reply.thread}> has it. {reply.text}".strip()
