"""Claude's words as they come: pieces while they stream, whole blocks only where nothing was streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from executor.events import Notice, Text
from executor.lenient import clean, mapping, text

PIECE = 16 * 1024
"""Characters of text in one event."""
SPEAKERS = 64
"""Subagents whose streams are remembered at once."""


@dataclass(slots=True)
class _Stream:
    """The message that one speaker is in: ids and counts alone."""

    message: str = ""
    seen: int = 0
    """Characters streamed of the current block, 0 once its whole was compared."""
    open: bool = False
    """Whether a piece was shown whose block has not ended."""
    shown: bool = False
    """Whether any text of this message was shown."""


class Streams:
    """The streams of Claude and its subagents, by the tool call that started them."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._streams = {parent: _Stream(**fields) for parent, fields in kept.items()}

    def kept(self) -> dict[str, Any]:
        """What to remember."""
        return {parent: asdict(stream) for parent, stream in self._streams.items()}

    def piece(self, line: Mapping[str, Any]) -> list[Text | Notice]:
        """What a `stream_event` shows."""
        parent, event = _id(line.get("parent_tool_use_id")), mapping(line.get("event"))
        stream = self._stream(parent)
        match event.get("type"):
            case "message_start":
                ended = _end(stream, parent)
                self._streams[parent] = _Stream(message=_id(mapping(event.get("message")).get("id")))
                return ended
            case "content_block_start":
                ended = _end(stream, parent)
                stream.seen = 0
                return [*ended, *_pieces(stream, parent, text(mapping(event.get("content_block")).get("text")))]
            case "content_block_delta":
                delta = mapping(event.get("delta"))
                said = text(delta.get("text")) if delta.get("type") == "text_delta" else ""
                return list(_pieces(stream, parent, said))
            case "content_block_stop":
                return _end(stream, parent)
            case "message_stop":
                return [*_end(stream, parent), *_abandoned(stream, line)]
            case _:
                return []

    def whole(self, line: Mapping[str, Any], said: str) -> list[Text | Notice]:
        """What of a whole text block of an `assistant` line was not shown yet."""
        parent, message = _id(line.get("parent_tool_use_id")), _id(mapping(line.get("message")).get("id"))
        stream = self._stream(parent)
        if message != stream.message:
            ended = _end(stream, parent)
            stream = self._streams[parent] = _Stream(message=message)
            return [*ended, *_block(stream, parent, said)]
        rest, streaming = said[stream.seen :], stream.open
        pieces = list(_pieces(stream, parent, rest)) if streaming else _block(stream, parent, rest)
        stream.seen = 0
        return [*pieces]

    def close(self) -> list[Text | Notice]:
        """End what is still open: the turn is over."""
        ended = [event for parent, stream in self._streams.items() for event in _end(stream, parent)]
        self._streams.clear()
        return ended

    def _stream(self, parent: str) -> _Stream:
        stream = self._streams.setdefault(parent, _Stream())
        while len(self._streams) > SPEAKERS:
            del self._streams[next(name for name in self._streams if name != parent)]
        return stream


def _pieces(stream: _Stream, parent: str, said: str) -> Iterator[Text]:
    stream.seen += len(said)
    for start in range(0, len(said), PIECE):
        stream.open = stream.shown = True
        yield Text(clean(said[start : start + PIECE]), parent=parent)


def _block(stream: _Stream, parent: str, said: str) -> list[Text]:
    pieces = list(_pieces(stream, parent, said))
    stream.open = False
    return [*pieces[:-1], *(replace(piece, end=True) for piece in pieces[-1:])]


def _end(stream: _Stream, parent: str) -> list[Text | Notice]:
    if not stream.open:
        return []
    stream.open = False
    return [Text("", end=True, parent=parent)]


def _abandoned(stream: _Stream, line: Mapping[str, Any]) -> list[Notice]:
    # A cut connection: blocks from this one on come again in another message. An interrupted one keeps what it said.
    lost = mapping(line.get("abandoned_blocks")).get("from_block_index") == 0
    return [Notice("info", "restart", "The answer was cut off and begins again.")] if lost and stream.shown else []


def _id(value: Any) -> str:
    return clean(text(value)[:200])
