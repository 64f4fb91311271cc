"""The modals: answers in one's own words, the number of a checkpoint, work about a message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.slack_text import fenced, mrkdwn, pieces
from bot.safetext import one_line

Json = dict[str, Any]

OTHER, REWIND, ABOUT = "rdev:other", "rdev:rewind", "rdev:about"
FIELD, PROJECT = "text", "project"
_PRIVATE = 3_000
_ABOUT = 2_500
"""Characters of a message that a prompt can be about; Slack carries no more with a modal."""


def other(ask: str, title: str, where: Json) -> Json:
    """Answer an ask in one's own words."""
    return _modal(OTHER, "Answer", {**where, "ask": ask}, [_field(one_line(title, 150) or "Answer", long=True)])


def rewind(where: Json, checkpoints: str = "") -> Json:
    """Name the checkpoint to go back to; the list comes when it has been read."""
    shown = next(pieces(fenced(checkpoints), 2_800)) if checkpoints else "Reading the checkpoints …"
    table = {"type": "section", "block_id": "list", "text": {"type": "mrkdwn", "text": mrkdwn(shown)[:3_000]}}
    return _modal(REWIND, "Rewind", where, [table, _field("The number of the checkpoint", long=False)])


def about(text: str, projects: Sequence[str], where: Json) -> Json:
    """Give Claude work about a message."""
    options = [{"text": _plain(project), "value": project} for project in projects[:100]]
    element: Json = {"type": "static_select", "action_id": PROJECT, "options": options}
    if len(options) == 1:
        element["initial_option"] = options[0]
    choose = {"type": "input", "block_id": PROJECT, "label": _plain("Project"), "element": element}
    return _modal(ABOUT, "Ask Claude", {**where, "about": text[:_ABOUT]}, [choose, _field("What to do", long=True)])


def values(view: Json) -> dict[str, str]:
    """What was filled in, by block."""
    found: dict[str, str] = {}
    for block, elements in view["state"]["values"].items():
        for element in elements.values():
            chosen = element.get("selected_option") or {}
            found[block] = str(element.get("value") or chosen.get("value") or "")
    return found


def where(view: Json) -> Json:
    """What the modal carries from when it was opened."""
    carried = json.loads(view.get("private_metadata") or "{}")
    return carried if isinstance(carried, dict) else {}


def _modal(callback: str, title: str, private: Json, blocks: list[Json]) -> Json:
    carried = json.dumps(private, ensure_ascii=False)
    while len(carried) > _PRIVATE:  # quoting can double a text
        private = {**private, "about": private["about"][: len(private["about"]) // 2]}
        carried = json.dumps(private, ensure_ascii=False)
    view: Json = {"type": "modal", "callback_id": callback, "private_metadata": carried, "blocks": blocks}
    return {**view, "title": _plain(title), "submit": _plain("Send"), "close": _plain("Cancel")}


def _field(label: str, *, long: bool) -> Json:
    element = {"type": "plain_text_input", "action_id": FIELD, "multiline": long, "max_length": 3_000 if long else 12}
    return {"type": "input", "block_id": FIELD, "label": _plain(label), "element": element}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": one_line(text, 150) or "…"}
