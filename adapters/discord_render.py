"""Our posts as Discord's messages: components that say which post of which job they are."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import discord
from discord import ButtonStyle, ui

from bot.posts import Post, PostKind
from bot.safetext import one_line
from executor.events import AskRaised

LIMIT = 3800
"""Characters of a post, with some left for the end of a fence."""
_MOST = 4000
NOBODY = discord.AllowedMentions.none()
ACTOR = re.compile(r"\bdiscord:(\d{5,20})\b")
_FILE_BYTES = 8 << 20
_FILES = 3
_GAP = 64
"""So many of a job's posts in a row may have been deleted by people."""
_BUTTONS = 4
"""More choices than this are a select."""
_CHOICES = 25
_USUAL = {"push": ("push", "no"), "confirm": ("yes", "no"), "question": ()}
_GREEN, _RED, _AMBER, _BLUE, _GREY = 0x3BA55D, 0xED4245, 0xFAA61A, 0x5865F2, 0x747F8D
_RESULTS = {"✓": _GREEN, "✗": _RED}
AFTER = (("diff", "Diff"), ("push", "Push"), ("rewind", "Rewind"), ("resume", "Continue"))


def marker(job: str, index: int) -> int:
    """The component id that says: this is that post of that job."""
    digest = hashlib.sha256(f"{job}/{index}".encode()).digest()
    return (int.from_bytes(digest[:4]) & 0x7FFFFFFF) or 1


def nonce(thread: str, job: str, post: Post) -> str:
    """What keeps Discord from making the same post twice when an answer was lost; it takes 25 characters."""
    return hashlib.sha256(f"{thread}/{job}/{post.index}".encode()).hexdigest()[:25]


def markers(message: discord.Message) -> Iterator[int]:
    """The ids of the message's texts."""
    for component in message.components:
        children = component.children if isinstance(component, discord.Container) else [component]
        yield from (child.id for child in children if isinstance(child, discord.TextDisplay) and child.id)


def words(message: discord.Message) -> str:
    """The text of a message of ours."""
    for component in message.components:
        children = component.children if isinstance(component, discord.Container) else [component]
        for child in children:
            if isinstance(child, discord.TextDisplay):
                return child.content
    return ""


def layout(job: str, post: Post) -> ui.LayoutView:
    """The post as components."""
    text: ui.TextDisplay[Any] = ui.TextDisplay(said(post), id=marker(job, post.index))
    below = [*_asked(post.ask), *_controls(job, post), *(ui.File[Any](f"attachment://{name}") for name in _names(post))]
    view = finished()
    if post.kind is PostKind.TEXT:
        for item in (text, *below):
            view.add_item(item)
    else:
        view.add_item(ui.Container(text, *below, accent_color=_colour(post)))
    return view


def said(post: Post) -> str:
    """The text that the message shows; a loud one names whom it is for."""
    if not post.loud:
        return post.text[:_MOST].strip() or "…"
    head, gap, last = post.text.rpartition("\n")
    # Only the line of ours that says who did it: what is asked must be shown as it is.
    text = post.text if post.ask else head + gap + ACTOR.sub(r"<@\1>", last)
    whom = f"\n-# for <@{person}>" if (person := _person(post)) else ""
    return text[: _MOST - len(whom)].strip() + whom


def notified(post: Post) -> discord.AllowedMentions:
    """Who is called by a new post: at most the one who asked for the work."""
    person = _person(post)
    return discord.AllowedMentions(everyone=False, roles=False, users=[discord.Object(person)] if person else False)


def _person(post: Post) -> int:
    found = ACTOR.fullmatch(post.actor)
    return int(found[1]) if found and post.loud else 0


def finished() -> ui.LayoutView:
    """A view that discord.py forgets at once: what is clicked is told by its custom_id, also after a restart."""
    view = ui.LayoutView(timeout=None)
    view.stop()
    return view


def files(post: Post) -> list[discord.File]:
    """What goes along with the post, in files that Discord takes."""
    data = post.file.encode("utf-8", "replace")
    pieces = (data[at : at + _FILE_BYTES] for at in range(0, len(data), _FILE_BYTES))
    return [discord.File(io.BytesIO(piece), name) for name, piece in zip(_names(post), pieces, strict=False)]


def fallback(post: Post) -> Post:
    """The post as a file, for a text or buttons that Discord does not take."""
    text = "Discord did not take this as a message; the file has it."
    answer = f" Answer with /rdev answer {post.ask.id}" if post.ask else ""
    return replace(post, text=text + answer, file=post.text + "\n" + post.file, ask=None)


def indexed(job: str, there: Mapping[int, str]) -> dict[int, str]:
    """A job's posts among the messages that are there: the message of each index."""
    found: dict[int, str] = {}
    index = last = 1
    while index <= last + _GAP:
        if (known := there.get(marker(job, index))) is not None:
            found[index], last = known, index
        index += 1
    return found


def choices(ask: AskRaised) -> tuple[str, ...]:
    """What may be answered by choosing."""
    return ask.choices or _USUAL.get(ask.kind, ("allow", "deny"))


def confirm(ask: str) -> ui.ActionRow[Any]:
    """Yes and no for what a command wants confirmed."""
    yes: ui.Button[Any] = ui.Button(label="Yes", style=ButtonStyle.danger, custom_id=f"rdev:answer:{ask}:yes")
    no: ui.Button[Any] = ui.Button(label="No", style=ButtonStyle.secondary, custom_id=f"rdev:answer:{ask}:no")
    return ui.ActionRow(yes, no)


def select(custom_id: str, labels: Sequence[str], values: Sequence[str], placeholder: str, most: int = 1) -> Any:
    """A row with one select."""
    options = [
        discord.SelectOption(label=one_line(label, 100) or "–", value=value)
        for label, value in zip(labels[:_CHOICES], values, strict=False)
    ]
    most = min(most, len(options))
    return ui.ActionRow(ui.Select[Any](custom_id=custom_id, options=options, placeholder=placeholder, max_values=most))


def _names(post: Post) -> list[str]:
    if not post.file:
        return []
    size = len(post.file.encode("utf-8", "replace"))
    count = min(_FILES, -(-size // _FILE_BYTES))
    return ["output.md"] if count == 1 else [f"output-{number}.md" for number in range(1, count + 1)]


def _asked(ask: AskRaised | None) -> Iterator[ui.ActionRow[Any]]:
    if ask is None:
        return
    offered = choices(ask)
    write: ui.Button[Any] = ui.Button(
        label="In your own words…" if offered else "Answer…",
        style=ButtonStyle.secondary,
        custom_id=f"rdev:write:{ask.id}",
    )
    free = [write] if ask.kind in ("question", "plan") else []
    if ask.multiple or len(offered) > _BUTTONS:
        many = len(offered) if ask.multiple else 1
        yield select(f"rdev:choose:{ask.id}", offered, [str(n) for n in range(len(offered))], "Choose", many)
        if free:
            yield ui.ActionRow(*free)
        return
    buttons = [_choice(ask, number, label) for number, label in enumerate(offered)]
    if buttons or free:
        yield ui.ActionRow(*buttons, *free)


def _choice(ask: AskRaised, number: int, label: str) -> ui.Button[Any]:
    style = ButtonStyle.secondary
    if ask.kind != "question":
        refusal = label.casefold().startswith(("no", "deny", "keep"))
        style = ButtonStyle.danger if refusal else ButtonStyle.success if not number else ButtonStyle.primary
    return ui.Button(label=one_line(label, 80) or "–", style=style, custom_id=f"rdev:answer:{ask.id}:{number}")


def _controls(job: str, post: Post) -> Iterator[ui.ActionRow[Any]]:
    if post.kind is PostKind.CARD and not post.final:
        stop: ui.Button[Any] = ui.Button(label="Stop", style=ButtonStyle.danger, custom_id=f"rdev:do:stop {job}")
        yield ui.ActionRow(stop)
    if post.kind is PostKind.END:
        buttons: list[ui.Button[Any]] = [
            ui.Button(label=label, style=ButtonStyle.secondary, custom_id=f"rdev:do:{verb}") for verb, label in AFTER
        ]
        yield ui.ActionRow(*buttons)


def _colour(post: Post) -> int:
    match post.kind:
        case PostKind.ASK:
            return _AMBER if post.ask else _GREY
        case PostKind.END:
            return _RESULTS.get(post.text[:1], _GREY)
        case _:
            return _BLUE if not post.final else _GREY
