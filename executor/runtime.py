"""The directory squid runs in: files written whole, readable by squid and, where we are root, by nobody else."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from executor import squid


@dataclass(frozen=True, slots=True)
class Owner:
    """The unprivileged user squid runs as, where we are root."""

    uid: int
    gid: int


def squid_owner() -> Owner | None:
    """Who squid runs as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("proxy", "squid", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(entry.pw_uid, entry.pw_gid)
    return Owner(65534, 65534)


def write_whole(path: Path, text: str, mode: int, owner: Owner | None = None) -> None:
    """Put a file in place with its owner and mode, by rename."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as f:
        if owner:
            os.fchown(f.fileno(), owner.uid, owner.gid)
        os.fchmod(f.fileno(), mode)
        f.write(text)
    new.replace(path)


class Runtime:
    """squid's directory, below the state directory, or below /run where squid is another user than us."""

    def __init__(self, state_dir: Path) -> None:
        self.name = "rdev" + sha256(os.fsencode(state_dir.resolve())).hexdigest()[:10]
        """Unique among the machine's squids, whose shared memory would collide else."""
        self.owner = squid_owner()
        self.path = Path("/run", self.name) if self.owner else state_dir.resolve() / "squid"
        self.access_log = self.path / "log" / "access.log"
        self._allow = self.path / "allow"

    def make(self) -> None:
        """Make the directories, or make them ours again."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        if self.path.is_symlink() or self.path.stat().st_uid != os.geteuid():
            raise OSError(f"{self.path} belongs to someone else")
        self._allow.mkdir(exist_ok=True)
        self.access_log.parent.mkdir(exist_ok=True)
        for path, mode in (
            (self.path, 0o711 if self.owner else 0o700),
            (self._allow, 0o750),
            (self.access_log.parent, 0o700),
        ):
            path.chmod(mode)
        if self.owner:
            os.chown(self._allow, 0, self.owner.gid)
            os.chown(self.access_log.parent, self.owner.uid, self.owner.gid)

    def configure(self, settings: squid.Settings) -> Path:
        """Write all that squid reads at its start; raises ValueError where it cannot be said."""
        text, hosts = squid.configuration(settings), squid.hosts_file(settings.hosts)
        write_whole(self.path / "hosts", hosts, 0o444)
        write_whole(self.path / "policy.sh", policy(), 0o444)
        conf = self.path / "squid.conf"
        write_whole(conf, text, 0o400, self.owner)
        return conf

    def allow(self, name: str, domains: str) -> None:
        """Put an allow file in place; it counts from the next request on."""
        write_whole(self._allow / name, domains, 0o440, Owner(0, self.owner.gid) if self.owner else None)

    def forget(self, name: str) -> None:
        """Remove an allow file."""
        (self._allow / name).unlink(missing_ok=True)

    def allowed(self) -> Iterator[str]:
        """The names of the allow files."""
        for entry in self._allow.iterdir():
            if not entry.name.startswith("."):
                yield entry.name

    def unshare(self) -> None:
        """Remove the shared memory that a killed squid leaves."""
        for segment in Path("/dev/shm").glob(f"{self.name}-*.shm"):  # noqa: S108  # where the C library keeps it
            segment.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove it all: the key is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def policy() -> str:
    """The program squid asks what is allowed."""
    return files("claudebox").joinpath("squid/policy.sh").read_text(encoding="utf-8")
