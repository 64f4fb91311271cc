"""What Slack refuses in texts, blocks, metadata and views: lengths, counts and identifiers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from slack_state import Json, Refused

TEXT, UPDATE_TEXT, MARKDOWN, BLOCKS, ALL_BLOCKS = 40_000, 4_000, 12_000, 50, 13_200
METADATA, VIEW_BYTES = 8_000, 250_000
ELEMENTS = {"actions": 25, "context": 10, "context_actions": 5}
BUTTONS = {"button", "static_select", "multi_static_select", "external_select", "overflow", "users_select"}
CHOICES = {"static_select": 100, "multi_static_select": 100, "overflow": 5, "radio_buttons": 10, "checkboxes": 10}
IN_MESSAGES = {
    *("actions", "alert", "card", "carousel", "context", "context_actions", "divider", "file", "header", "image"),
    *("input", "markdown", "plan", "rich_text", "section", "table", "task_card", "video"),
}
IN_VIEWS = {"actions", "context", "divider", "header", "image", "input", "rich_text", "section", "video"}


def size(blocks: list[Json]) -> int:
    """Characters of the blocks as Slack weighs them: containers count as well."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))


def check_blocks(blocks: Any, *, too_many: str = "invalid_blocks") -> list[Json]:
    """Raise what Slack answers to these blocks of a message."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Refused("invalid_blocks_format")
    if len(blocks) > BLOCKS:
        raise Refused(too_many, "[ERROR] no more than 50 items allowed [json-pointer:/blocks]")
    faults = list(blocks_faults(blocks, IN_MESSAGES, "/blocks"))
    if faults:
        raise Refused("invalid_blocks", *faults)
    written = sum(len(block["text"]) for block in blocks if block["type"] == "markdown")
    if size(blocks) > ALL_BLOCKS or written > MARKDOWN:
        raise Refused("msg_blocks_too_long")
    return blocks


def blocks_faults(blocks: list[Json], known: set[str], pointer: str) -> Iterator[str]:
    """Sentences as Slack puts them into response_metadata.messages."""
    names: set[str] = set()
    for n, block in enumerate(blocks):
        here = f"[json-pointer:{pointer}/{n}"
        kind = block.get("type")
        if kind not in known:
            yield f"[ERROR] unsupported type: {kind} {here}/type]"
            continue
        name = block.get("block_id")
        if name is not None and (len(name) > 255 or name in names or not name):
            yield f"[ERROR] block_id must be unique and 1 to 255 characters {here}/block_id]"
        names.add(name or f"#{n}")
        for fault in block_faults(block):
            yield f"[ERROR] {fault} {here}]"


def block_faults(block: Json) -> Iterator[str]:
    kind = block["type"]
    if kind == "section":
        if "text" not in block and not block.get("fields"):
            yield "a section needs text or fields"
        yield from text_faults(block.get("text"), 3000) if "text" in block else ()
        fields = block.get("fields") or []
        if len(fields) > 10:
            yield "no more than 10 fields"
        for text in fields:
            yield from text_faults(text, 2000)
    if kind == "header":
        yield from text_faults(block.get("text"), 150, ("plain_text",))
    if kind == "markdown" and not 0 < len(block.get("text") or "") <= MARKDOWN:
        yield "must be 1 to 12000 characters"
    if kind == "input":
        yield from text_faults(block.get("label"), 2000, ("plain_text",))
        yield from element_faults(block.get("element") or {})
    elements = block.get("elements") or []
    if kind in ELEMENTS:
        if not 0 < len(elements) <= ELEMENTS[kind]:
            yield f"must have 1 to {ELEMENTS[kind]} elements"
        ids = [element["action_id"] for element in elements if "action_id" in element]
        if len(ids) != len(set(ids)):
            yield "`action_id` must be unique in its block"
        for element in elements:
            yield from element_faults(element) if kind == "actions" else context_faults(element)
    if "accessory" in block:
        yield from element_faults(block["accessory"])


def context_faults(element: Json) -> Iterator[str]:
    if element.get("type") in ("mrkdwn", "plain_text"):
        yield from text_faults(element, 3000)


def text_faults(text: Any, most: int, kinds: tuple[str, ...] = ("mrkdwn", "plain_text")) -> Iterator[str]:
    if not isinstance(text, dict) or text.get("type") not in kinds or not isinstance(text.get("text"), str):
        yield f"must be a text object of type {' or '.join(kinds)}"
    elif not text["text"]:
        yield "must be more than 0 characters"
    elif len(text["text"]) > most:
        yield f"must be less than {most + 1} characters"


def element_faults(element: Json) -> Iterator[str]:
    kind = element.get("type", "")
    if kind in BUTTONS | CHOICES.keys() | {"plain_text_input"} and not 0 < len(element.get("action_id") or "a") <= 255:
        yield "`action_id` must be 1 to 255 characters"
    if kind == "button":
        yield from text_faults(element.get("text"), 75, ("plain_text",))
        if len(element.get("value") or "") > 2000 or len(element.get("url") or "") > 3000:
            yield "a button's value is at most 2000 characters, its url 3000"
        if element.get("style", "primary") not in ("primary", "danger"):
            yield "a button's style is primary or danger"
    if kind in CHOICES:
        yield from choice_faults(element, CHOICES[kind])
    if kind == "plain_text_input" and not 0 <= int(element.get("max_length", 3000)) <= 3000:
        yield "max_length is at most 3000"
    if "placeholder" in element:
        yield from text_faults(element["placeholder"], 150, ("plain_text",))
    if not kind:
        yield "an element needs a type"


def choice_faults(element: Json, most: int) -> Iterator[str]:
    options = element.get("options") or [o for g in element.get("option_groups") or [] for o in g["options"]]
    if not 0 < len(options) <= most:
        yield f"must have 1 to {most} options"
    values = [option.get("value") for option in options]
    if len(values) != len(set(values)):
        yield "the values of options must differ"
    for option in options:
        yield from text_faults(option.get("text"), 75)
        if not 0 < len(option.get("value") or "") <= 150:
            yield "an option's value is 1 to 150 characters"
        if len((option.get("description") or {}).get("text", "")) > 75:
            yield "an option's description is at most 75 characters"


def check_metadata(metadata: Any) -> Json | None:
    """The metadata to keep; {} takes the old away."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise Refused("invalid_metadata_format")
    if metadata and (set(metadata) - {"event_type", "event_payload", "entities"} or not metadata.get("event_type")):
        raise Refused("invalid_metadata_schema")
    if metadata and not isinstance(metadata.get("event_payload"), dict):
        raise Refused("invalid_metadata_schema")
    if len(json.dumps(metadata)) > METADATA:
        raise Refused("metadata_too_large")
    return metadata


def check_view(view: Any) -> Json:
    """Raise what Slack answers to this modal."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        raise Refused("invalid_arguments", "[ERROR] unsupported type [json-pointer:/view/type]")
    if len(json.dumps(view)) > VIEW_BYTES:
        raise Refused("view_too_large")
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not 0 < len(blocks) <= 100:
        raise Refused("invalid_arguments", "[ERROR] must have 1 to 100 items [json-pointer:/view/blocks]")
    faults = [f"[ERROR] {fault} [json-pointer:/view/title]" for fault in text_faults(view.get("title"), 24)]
    for key in ("submit", "close"):
        if key in view:
            faults += [f"[ERROR] {fault} [json-pointer:/view/{key}]" for fault in text_faults(view[key], 24)]
    if len(view.get("private_metadata") or "") > 3000 or len(view.get("callback_id") or "") > 255:
        faults.append("[ERROR] private_metadata is at most 3000 characters, callback_id 255")
    if "submit" not in view and any(block.get("type") == "input" for block in blocks):
        faults.append("[ERROR] missing required field: submit [json-pointer:/view]")
    faults += blocks_faults(blocks, IN_VIEWS, "/view/blocks")
    if faults:
        raise Refused("invalid_arguments", *faults)
    return view
