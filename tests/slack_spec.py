"""Slack's methods as published: arguments read and checked, tiers and errors known."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from slack_state import Json, Refused

SPEC = Path(__file__).parent / "specs" / "slack-methods.json.gz"
STRUCTURED = {"attachments", "blocks", "chunks", "files", "file_ids", "loading_messages", "metadata", "view"}
"""Arguments that are JSON: in a JSON body as they are, in a form as text."""
COMMON = {
    *("account_inactive", "fatal_error", "internal_error", "invalid_arguments", "invalid_auth", "method_deprecated"),
    *("not_allowed_token_type", "not_authed", "ratelimited", "token_revoked", "unknown_method"),
    # Seen in the wild, absent from the published lists:
    *("msg_too_long", "thread_not_found", "invalid_thread_ts", "streaming_mode_mismatch"),
    "cannot_provide_both_markdown_text_and_chunks",
}
EVERYWHERE = {"token", "team_id"}
"""Arguments that any method takes; bolt adds team_id to each call."""


@cache
def methods() -> dict[str, Json]:
    """The published methods, by name; empty where the file is absent."""
    return json.loads(gzip.decompress(SPEC.read_bytes())) if SPEC.exists() else {}


def tiers() -> dict[str, str]:
    return {name: method["rate"] for name, method in methods().items() if method["rate"]}


def known_error(method: str, error: str) -> bool:
    return error in COMMON or error in methods().get(method, {}).get("errors", {error})


def takes_json(method: str) -> bool:
    return bool(methods().get(method, {}).get("json", True))


def read(method: str, given: Json) -> tuple[Json, list[str]]:
    """The arguments as values, and the names that the method does not know; refuses what Slack would."""
    published = methods().get(method, {}).get("args", {})
    properties = published.get("properties", {})
    faults: list[str] = []
    args: Json = {}
    for name, value in given.items():
        try:
            args[name] = structured(value) if name in STRUCTURED else scalar(value, properties.get(name, {}))
        except ValueError as error:
            faults.append(f"[ERROR] {error} [json-pointer:/{name}]")
    for name in required(method, published, args) - {"token"} - args.keys():
        faults.append(f"[ERROR] missing required field: {name}")
    if faults:
        raise Refused("invalid_arguments", *faults)
    return args, sorted(args.keys() - properties.keys() - EVERYWHERE) if properties else []


def required(method: str, published: Json, args: Json) -> set[str]:
    names = set(published.get("required", ()))
    if method == "chat.appendStream" and "chunks" in args:
        names.discard("markdown_text")  # one of the two, as Slack's own client sends it
    return names


def structured(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value else value


def scalar(value: Any, schema: Json) -> Any:
    """The value in the schema's type: forms carry text for all of them."""
    kind = schema.get("type")
    if kind in ("integer", "number") and not isinstance(value, bool):
        number = int(value)
        if not schema.get("minimum", number) <= number <= schema.get("maximum", number):
            raise ValueError(f"must be {schema.get('minimum', '')} to {schema.get('maximum', '')}")
        return number
    if kind == "boolean":
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise ValueError("must be a boolean")
        return str(value).lower() in ("true", "1")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"must be one of {', '.join(schema['enum'])}")
    if isinstance(value, dict | list):
        raise ValueError("must be a string")
    return value if isinstance(value, bool) else str(value)
