"""Forms and choices on Discord: what they offer, and what was filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import discord
from discord import ui

from adapters import discord_render as render
from adapters.discord_commands import ASK_ABOUT
from adapters.discord_telling import Interaction
from bot.service import Message
from bot.store import Store
from executor.events import AskRaised

_LATEST = 500
_QUOTED = 3000


def answer(ask: str) -> ui.Modal:
    """A form for an answer in one's own words."""
    field: ui.TextInput[Any] = ui.TextInput(
        style=discord.TextStyle.paragraph, custom_id="answer", max_length=4000, required=True
    )
    return _form("Answer", f"rdev:written:{ask}", ui.Label[Any](text="Your answer", component=field))


def about(message: str, projects: Sequence[str]) -> ui.Modal:
    """A form for work that a message asks for."""
    options = [discord.SelectOption(label=each, default=len(projects) == 1) for each in projects[:25]]
    project: ui.Select[Any] = ui.Select(custom_id="project", options=options, required=True)
    prompt: ui.TextInput[Any] = ui.TextInput(
        style=discord.TextStyle.paragraph, custom_id="prompt", max_length=3000, required=True
    )
    return _form(
        ASK_ABOUT,
        f"rdev:about:{message}",
        ui.Label[Any](text="Project", component=project),
        ui.Label[Any](text="What is to be done?", component=prompt),
    )


def checkpoints(rows: Sequence[str]) -> Any:
    """A select of the checkpoints, as `/rdev checkpoints` lists them."""
    return render.select("rdev:rewind", rows, [row.split(" ")[0] for row in rows], "Rewind to")


def values(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a form was filled with, by field."""
    return dict(_fields(data.get("components") or ()))


async def choices(store: Store, ask: str, numbers: Sequence[str]) -> list[str]:
    """The choices of those numbers, whole: a button shows no more than 80 characters of one."""
    offered = await _offered(store, ask)
    return [offered[int(each)] if each.isdigit() and int(each) < len(offered) else each for each in numbers]


async def quoting(interaction: Interaction, message: Message, about: str) -> Message:
    """What a person wrote, with the words of the message that it is about."""
    if not about:
        return message
    place = interaction.client.get_partial_messageable(interaction.channel_id or 0)
    try:
        found = await place.fetch_message(int(about))
    except discord.HTTPException:
        return replace(message, text=f"{message.text}\n\n(The message that this is about cannot be read any more.)")
    text = found.content or "\n".join(embed.description or "" for embed in found.embeds)
    lines = "\n".join(f"> {row}" for row in text[:_QUOTED].splitlines())
    whose = f"This is about a message that {found.author.display_name} wrote:"
    return replace(message, text=f"{message.text}\n\n{whose}\n{lines}")


async def _offered(store: Store, ask: str) -> tuple[str, ...]:
    known = await store.ask(ask)
    job = await store.job(known.job) if known and known.job else None
    if job is None:
        return ()
    # An open ask is among the last events, an old one anywhere.
    for start in dict.fromkeys((max(0, job.seq - _LATEST), 0)):
        seq = start
        while entries := await store.entries(job.id, seq):
            for entry in entries:
                if isinstance(entry.event, AskRaised) and entry.event.id == ask:
                    return render.choices(entry.event)
            seq = entries[-1].seq
    return ()


def _form(title: str, custom_id: str, *fields: ui.Label[Any]) -> ui.Modal:
    form = ui.Modal(title=title, custom_id=custom_id, timeout=None)
    form.stop()  # discord.py forgets it at once: what is filled in is told by its custom_id, also after a restart
    for field in fields:
        form.add_item(field)
    return form


def _fields(components: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    for each in components:
        if "custom_id" in each:
            yield str(each["custom_id"]), [str(v) for v in each.get("values") or [each.get("value", "")]]
        inner = each.get("components") or ([each["component"]] if "component" in each else [])
        yield from _fields(inner)
