"""boxrun's command line for tests: real processes, and a look at what lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from plain_backend import BOXRUN

BWRAP = [
    *("bwrap", "--unshare-all", "--die-with-parent", "--new-session"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *(
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--dir",
        "/home/agent",
    ),
    *("--bind", "{mount:workspace}", "/workspace", "--chdir", "{cwd}", "--"),
]


class Cli:
    """One box's boxrun."""

    def __init__(self, root: Path, wrap: Path | None = None, cwd: Path = Path("/workspace")) -> None:
        self.root = root
        self.command = [sys.executable, "-I", "-S", str(BOXRUN), "--root", str(root)]
        if wrap:
            self.command += ["--wrap", str(wrap)]
        self.wrapped = wrap is not None
        self.cwd = str(cwd)

    def popen(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        """A verb under way."""
        return subprocess.Popen([*self.command, *words], stdout=subprocess.PIPE, **more)

    def run(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A verb that has ended."""
        return subprocess.run([*self.command, *words], input=data, capture_output=True, check=False, timeout=60)

    def ask(self, *words: str, data: bytes = b"") -> dict[str, Any]:
        """A verb's one answer."""
        done = self.run(*words, data=data)
        assert not done.stderr, done.stderr.decode()
        return dict(json.loads(done.stdout))

    def spec(self, *argv: str, **more: Any) -> bytes:
        return json.dumps({"argv": argv, "env": {}, "cwd": self.cwd, "stderr": "journal", **more}).encode()

    def start(self, job: str, *argv: str, **more: Any) -> dict[str, Any]:
        return self.ask("start", job, data=self.spec(*argv, **more))

    def send(self, job: str, line: bytes) -> dict[str, Any]:
        return self.ask("send", job, "--length", str(len(line)), data=line)

    def follow(self, job: str, offset: int = 0) -> tuple[bytes, dict[str, Any]]:
        """The journal from there to the job's end, and the frame that tells the end."""
        done = self.run("follow-one", job, "--offset", str(offset))
        data, last = bytearray(), {}
        for header, payload in frames(done.stdout):
            if payload:
                assert header["offset"] == offset + len(data), "a chunk begins where the last one ended"
            data += payload
            last = header
        return bytes(data), last

    def runner(self, job: str) -> int:
        return int((self.root / "jobs" / job / "pid").read_text().split()[0])

    def journal(self, job: str) -> bytes:
        return (self.root / "jobs" / job / "out").read_bytes()


def frames(stream: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """A follow stream taken apart."""
    at = 0
    while at < len(stream):
        end = stream.index(b"\n", at)
        header = json.loads(stream[at:end])
        at = end + 1 + header.get("length", 0)
        yield header, stream[end + 1 : at]


def living(mark: str) -> list[int]:
    """The processes with these words in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in words and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def until(true: Callable[[], object], seconds: float = 5) -> None:
    """Wait for what no event tells of."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
