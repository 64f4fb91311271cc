"""The wire format of Anthropic's Messages API as its servers speak it: what they refuse, and how they stream."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.script import Block, Say, Think, UseTool

ERRORS = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource"),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your rate limit"),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
INPUT_TOKENS = 100
OUTPUT_TOKENS = 20

Piece = tuple[bytes, float]
"""Bytes to send, and seconds to wait before."""


def error(status: int, message: str = "") -> dict[str, Any]:
    """The body of an error answer."""
    kind, text = ERRORS.get(status, ("api_error", "Error"))
    return {"type": "error", "error": {"type": kind, "message": message or text}, "request_id": _id("req")}


def invalid(body: Any) -> str:
    """What the API would refuse the request for, or nothing."""
    if not isinstance(body, dict):
        return "Input should be a valid dictionary"
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if name not in body:
            return f"{name}: Field required"
        if not isinstance(body[name], kind) or isinstance(body[name], bool):
            return f"{name}: Input should be a valid {kind.__name__}"
    if body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if not body["messages"]:
        return "messages: at least one message is required"
    for index, message in enumerate(body["messages"]):
        found = _invalid_message(message)
        if found:
            return f"messages.{index}{found}"
    return _unpaired(body["messages"])


def _invalid_message(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
        return ".role: Input should be 'user', 'assistant' or 'system'"
    content = message.get("content")
    if isinstance(content, str):
        return "" if content else ": content must be non-empty"
    if not isinstance(content, list) or not content:
        return ".content: Input should be a valid list"
    for index, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            return f".content.{index}: Input should be a valid dictionary"
        if block["type"] == "text" and not block.get("text"):
            return ": text content blocks must be non-empty"
    return ""


def _unpaired(messages: Sequence[Mapping[str, Any]]) -> str:
    open_ids: list[str] = []
    for index, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "user":
            results = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
            missing = [name for name in open_ids if name not in results]
            if missing:
                return (
                    f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                    + ", ".join(missing)
                )
            if any(name not in open_ids for name in results):
                return f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks"
            open_ids = []
        elif message["role"] == "assistant":
            open_ids += [str(block.get("id")) for block in blocks if block["type"] == "tool_use"]
    return ""


def whole(model: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """The message as one JSON object, for a request that does not stream."""
    return {
        **_envelope(model),
        "content": [_content(block) for block in blocks],
        "stop_reason": _stop_reason(blocks),
        "usage": _usage(OUTPUT_TOKENS),
    }


def stream(model: str, blocks: Sequence[Block]) -> Iterator[Piece]:
    """The message as server-sent events, with the pauses between them."""
    yield _sse("message_start", message=_envelope(model)), 0
    yield _sse("ping"), 0
    for index, block in enumerate(blocks):
        yield from _block(index, block)
    delta = {"stop_reason": _stop_reason(blocks), "stop_sequence": None}
    yield _sse("message_delta", delta=delta, usage=_usage(OUTPUT_TOKENS)), 0
    yield _sse("message_stop"), 0


def _block(index: int, block: Block) -> Iterator[Piece]:
    match block:
        case Say(text, pace, chunk):
            start: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(text, chunk)]
        case Think(text):
            pace = 0.0
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(text, 24)]
            deltas.append({"type": "signature_delta", "signature": "c2NyaXB0ZWQ="})
        case UseTool(name, values):
            pace = 0.0
            start = {"type": "tool_use", "id": _id("toolu"), "name": name, "input": {}}
            pieces = _pieces(json.dumps(dict(values)), 512)
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    yield _sse("content_block_start", index=index, content_block=start), 0
    for delta in deltas:
        yield _sse("content_block_delta", index=index, delta=delta), pace
    yield _sse("content_block_stop", index=index), 0


def _pieces(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), max(1, size))]


def _content(block: Block) -> dict[str, Any]:
    match block:
        case Say(text):
            return {"type": "text", "text": text}
        case Think(text):
            return {"type": "thinking", "thinking": text, "signature": "c2NyaXB0ZWQ="}
        case UseTool(name, values):
            return {"type": "tool_use", "id": _id("toolu"), "name": name, "input": dict(values)}


def _envelope(model: str) -> dict[str, Any]:
    return {
        "id": _id("msg"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(1),
    }


def _stop_reason(blocks: Sequence[Block]) -> str:
    return "tool_use" if any(isinstance(block, UseTool) for block in blocks) else "end_turn"


def _usage(output: int) -> dict[str, int]:
    return {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
    }


def _sse(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
