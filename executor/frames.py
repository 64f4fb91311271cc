"""What boxrun's follow stream brings, as values, and the parser that makes them of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_HEADER = 1 << 16
"""Bytes of a frame's header, at most."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a job ended."""

    code: int
    """The exit code; 128 + N for signal N."""
    signal: int
    reason: str
    """exited, stopped, timeout, journal_full or failed (it could not be started)"""
    started: float
    ended: float
    size: int
    """Bytes of the journal."""
    message: str = ""
    """A sentence for people, or the end of stderr; may be empty."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a job's journal."""

    job: str
    offset: int
    """Where in the journal the data begin."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Exited:
    """The job has ended; every byte of its journal came before."""

    job: str
    offset: int
    record: ExitRecord


@dataclass(frozen=True, slots=True)
class Lost:
    """The job's runner died without a word, and the job with it."""

    job: str
    offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """boxrun cannot follow the job."""

    job: str


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing has happened, and the stream lives."""


Frame = Chunk | Exited | Lost | Unknown | Beat


class FrameParser:
    """Makes frames of a stream's bytes; a chunk is passed on as it comes, in as many pieces."""

    def __init__(self) -> None:
        self._header = b""
        self._job = ""
        self._offset = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterable[Frame]:
        """The frames in the next bytes; raises ValueError when they are not boxrun's."""
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left] if at or len(data) > self._left else data
                yield Chunk(self._job, self._offset, piece)
                at += len(piece)
                self._offset += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._header += data[at:]
                if len(self._header) > _HEADER:
                    raise ValueError("a header without an end")
                return
            header, self._header = self._header + data[at:end], b""
            at = end + 1
            frame = self._read(json.loads(header))
            if frame is not None:
                yield frame

    def _read(self, header: dict[str, Any]) -> Frame | None:
        match header:
            case {"job": str(job), "offset": int(offset), "length": int(length)}:
                self._job, self._offset, self._left = job, offset, length
                return None
            case {"job": str(job), "offset": int(offset), "exit": dict(record)}:
                return Exited(job, offset, exit_record(record))
            case {"job": str(job), "offset": int(offset), "lost": True}:
                return Lost(job, offset)
            case {"job": str(job), "error": "unknown"}:
                return Unknown(job)
            case {"beat": True}:
                return Beat()
            case {"error": str(error)}:
                raise ValueError(error)
            case _:
                return None  # of a later version


def exit_record(fields: Mapping[str, Any]) -> ExitRecord:
    """The record as boxrun writes it; raises KeyError where something lacks."""
    return ExitRecord(
        code=int(fields["code"]),
        signal=int(fields["signal"]),
        reason=str(fields["reason"]),
        started=float(fields["started"]),
        ended=float(fields["ended"]),
        size=int(fields["size"]),
        message=str(fields.get("message", "")),
    )
