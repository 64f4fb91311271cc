"""Posts as Slack's messages: text, blocks, and buttons that say by themselves what they answer."""

from __future__ import annotations

import json
from typing import Any

from adapters.slack_text import escape, mrkdwn, pieces
from bot.model import Ask, AskKind
from bot.posts import Post, PostKind
from bot.safetext import one_line
from executor.events import AskRaised

Json = dict[str, Any]

EVENT_TYPE = "rdev_post"
_TEXT = 3_900
"""chat.update refuses longer texts than 4,000 characters."""
_SECTION = 2_900
_PIECE = 1_800
_NOTICE = 600
"""Characters of the text beside blocks, which notifications show."""
_BUTTONS = 8
"""More choices than that become a list."""
_OPTIONS = 100
_STYLES = {0: "primary"}
_FREE = (AskKind.QUESTION, AskKind.PLAN, AskKind.PERMISSION)
"""What may be answered in a person's own words."""


def message(job: str, post: Post) -> Json:
    """The arguments of chat.postMessage and chat.update that show the post; a loud one names who is to see it."""
    mention = _mention(post)
    buttons = _buttons(job, post)
    text = mrkdwn(post.text) if post.text.strip() else "…"
    text = f"{mention}{text}"
    if len(text) <= _TEXT and not buttons:
        return {"text": text, "blocks": []}
    blocks = body(post.text)
    if mention:
        blocks.insert(0, {"type": "context", "elements": [{"type": "mrkdwn", "text": mention}]})
    return {"text": mention + (escape(post.text[:_NOTICE]) or "…"), "blocks": [*blocks, *buttons]}


def _mention(post: Post) -> str:
    surface, _, name = post.actor.partition(":")
    user = name.rpartition("/")[2]
    return f"<@{user}> " if post.loud and surface == "slack" and user.isalnum() else ""


def metadata(job: str, post: Post) -> Json:
    """What a message of ours says of itself, so that it is found again."""
    return {"event_type": EVENT_TYPE, "event_payload": {"job": job, "index": post.index}}


def body(text: str) -> list[Json]:
    """Markdown as blocks; what grows too long by being escaped is shown without formatting instead."""
    blocks: list[Json] = []
    for piece in pieces(text if text.strip() else "…", _PIECE):
        shown = mrkdwn(piece)
        if not shown.strip():
            continue
        if len(shown) <= _SECTION:
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown}})
        else:
            literal = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": piece}]}
            blocks.append({"type": "rich_text", "elements": [literal]})
    return blocks


def confirmation(ask: Ask) -> Json:
    """The buttons below a reply that must be confirmed first."""
    elements = [_button(f"rdev:answer:{ask.id}:{n}", word.title(), word) for n, word in enumerate(("yes", "no"))]
    elements[0]["style"] = "danger"
    return {"type": "actions", "block_id": f"confirm:{ask.id}", "elements": elements}


def _buttons(job: str, post: Post) -> list[Json]:
    if post.kind is PostKind.ASK and post.ask is not None:
        return _answers(post.ask)
    if post.kind is PostKind.CARD and not post.final:
        return [_row(job, [_button("rdev:do:stop", "Stop", job, "danger")])]
    if post.kind is PostKind.END:
        words = (("diff", "Diff"), ("push", "Push"), ("rewind", "Rewind"), ("resume", "Continue"))
        return [_row(job, [_button(f"rdev:do:{verb}", label, job) for verb, label in words])]
    return []


def _answers(ask: AskRaised) -> list[Json]:
    choices = ask.choices or (("yes", "no") if ask.kind == AskKind.CONFIRM else ())
    other = [_button(f"rdev:other:{ask.id}", "Other…", one_line(ask.title, 150))] if ask.kind in _FREE else []
    if not ask.multiple and len(choices) <= _BUTTONS:
        buttons = [
            _button(f"rdev:answer:{ask.id}:{n}", choice, choice[:2000], _STYLES.get(n, ""))
            for n, choice in enumerate(choices)
        ]
        elements = buttons + other
        return [{"type": "actions", "block_id": f"ask:{ask.id}", "elements": elements}] if elements else []
    submit = _button(f"rdev:submit:{ask.id}", "Answer", _listed(choices), "primary")
    return [{"type": "actions", "block_id": f"ask:{ask.id}", "elements": [_list(ask, choices), submit, *other]}]


def _list(ask: AskRaised, choices: tuple[str, ...]) -> Json:
    options = [{"text": _plain(choice), "value": str(n)} for n, choice in enumerate(choices[:_OPTIONS])]
    kind = "static_select" if not ask.multiple else "checkboxes" if len(options) <= 10 else "multi_static_select"
    element: Json = {"type": kind, "action_id": f"rdev:pick:{ask.id}", "options": options}
    if kind != "checkboxes":
        element["placeholder"] = _plain("Choose")
    return element


def _listed(choices: tuple[str, ...]) -> str:
    """The choices in full, as far as a button carries them: options show 75 characters only."""
    whole = json.dumps(choices[:_OPTIONS], ensure_ascii=False)
    return whole if len(whole) <= 2000 else "[]"


def _row(job: str, elements: list[Json]) -> Json:
    return {"type": "actions", "block_id": f"job:{job}", "elements": elements}


def _button(action: str, label: str, value: str, style: str = "") -> Json:
    button = {"type": "button", "action_id": action, "text": _plain(label), "value": value or "-"}
    return {**button, "style": style} if style else button


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": one_line(text, 75) or "…"}
