"""The two transport compressions of the gateway: one context for the life of a connection."""

from __future__ import annotations

import zlib
from collections.abc import Callable


def compressor(kind: str) -> Callable[[bytes], bytes]:
    """How one connection turns each message into a frame; `kind` is zlib-stream or zstd-stream."""
    if kind == "zstd-stream":
        return Zstd().frame
    context = zlib.compressobj()
    return lambda message: context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH)


class Zstd:
    """One zstd frame that never ends, of blocks stored as they are: valid, and needs no library."""

    MAGIC = bytes.fromhex("28b52ffd")
    HEADER = b"\x00\x50"  # no size, no checksum, no dictionary; a window of 1 MiB
    BLOCK = 128 * 1024

    def __init__(self) -> None:
        self._opened = False

    def frame(self, message: bytes) -> bytes:
        start = b"" if self._opened else self.MAGIC + self.HEADER
        self._opened = True
        cuts = range(0, len(message), self.BLOCK)
        return start + b"".join(self._block(message[cut : cut + self.BLOCK]) for cut in cuts)

    @staticmethod
    def _block(data: bytes) -> bytes:
        return (len(data) << 3).to_bytes(3, "little") + data
