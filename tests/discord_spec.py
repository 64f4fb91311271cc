"""Checks requests against Discord's published OpenAPI document."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

SPEC = Path(__file__).parent / "specs" / "discord-openapi.json.gz"


def _mend(node: Any) -> Any:
    """Read the document as its README says: unions overlap, and ids may be numbers."""
    if isinstance(node, list):
        return [_mend(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "snowflake" and node.get("type") == "string":
        return {**node, "type": ["string", "integer"]}
    return {
        ("anyOf" if key == "oneOf" and isinstance(value, list) else key): _mend(value) for key, value in node.items()
    }


@functools.cache
def _document() -> dict[str, Any]:
    mended: dict[str, Any] = _mend(json.loads(gzip.decompress(SPEC.read_bytes())))
    return mended


@functools.cache
def _validator(method: str, template: str, status: int = 0) -> Draft202012Validator | None:
    """Checks the body of a request, or of its answer with a status."""
    document = _document()
    operation = document["paths"].get(template, {}).get(method.lower(), {})
    part = operation.get("responses", {}).get(str(status)) if status else operation.get("requestBody")
    if part is None or "content" not in part:
        return None
    schema = part["content"]["application/json"]["schema"]
    registry: Registry[Any] = Registry().with_resource("spec:", DRAFT202012.create_resource(document))
    return Draft202012Validator(_absolute(schema), registry=registry)


def _absolute(node: Any) -> Any:
    if isinstance(node, list):
        return [_absolute(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {key: f"spec:{value}" if key == "$ref" else _absolute(value) for key, value in node.items()}


def known(method: str, template: str) -> bool:
    """Is the route in the document?"""
    return method.lower() in _document()["paths"].get(template, {})


def faults(method: str, template: str, body: Any) -> list[str]:
    """What the document has against this body, a sentence each."""
    if not known(method, template):
        return [f"{method} {template} is no documented route"]
    validator = _validator(method, template)
    if validator is None:
        return [] if body is None else [f"{method} {template} takes no body"]
    return [f"{method} {template}: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(body)]


def answer_faults(method: str, template: str, status: int, body: Any) -> list[str]:
    """What the document has against this answer, a sentence each."""
    validator = _validator(method, template, status)
    errors = validator.iter_errors(body) if validator else ()
    return [f"{method} {template} {status}: {error.json_path}: {error.message[-300:]}" for error in errors]
