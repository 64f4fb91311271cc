"""Starting squid: found, its TLS and its configuration judged, its ports chosen, and waited for until it answers."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from executor import pids, processes, squid
from executor.errors import BoxFailed
from executor.runtime import Runtime

_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where squid is on Debian, and what is not on every user's PATH."""
_PATH = f"/usr/local/bin:/usr/bin:/bin:{_SEARCH}"
_FIRST_PORT, _PORTS = 20000, 12000
"""Ports are looked for here: below those that the kernel hands out by itself."""
_SECONDS = 20.0


def find(program: str) -> str:
    """squid's file; raises BoxFailed with the command that installs it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:{_SEARCH}")
    if path is None:
        raise BoxFailed(f"{program} is missing: apt-get install --no-install-recommends squid-openssl")
    return path


async def check_tls(program: str) -> None:
    """Refuse a squid linked with GnuTLS, such as Debian's plain one: it checks no certificate of a cache_peer.

    Raises BoxFailed with the command that installs the other.
    """
    if b"--with-openssl" not in await processes.output([program, "-v"], env={"PATH": _PATH}):
        raise BoxFailed(
            "This squid checks no certificate of the model API and would give the key to whoever answers in its place: "
            "install the one built with OpenSSL: apt-get install --no-install-recommends squid-openssl"
        )


def ports(runtime: Runtime, known: tuple[int, int]) -> tuple[int, int]:
    """The ports that running jobs dial, or two others where somebody took them."""
    if all(known) and all(map(is_free, known)):
        return known
    start = int(runtime.name[4:], 16)
    found = (port for step in range(_PORTS) if is_free(port := _FIRST_PORT + (start + step) % _PORTS))
    return next(found), next(found)


def is_free(port: int) -> bool:
    """Whether nobody listens on that port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            if e.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


async def launch(program: str, runtime: Runtime, settings: squid.Settings) -> int:
    """Start a squid that outlives us; its pid. Raises BoxFailed when squid refuses its configuration."""
    runtime.make()
    conf = runtime.configure(settings)
    argv = [*_as_owner(runtime), program, "-N", "-n", runtime.name, "-f", str(conf)]
    await _parse(argv, settings)
    for left in pids.with_words("-n", runtime.name, "-f", str(conf)):
        await pids.kill(left, pids.start_time(left))  # from a service that died before it wrote the pid down
    return _spawn(argv, runtime.path / "start.log")


async def answering(pidfd: int, runtime: Runtime, settings: squid.Settings) -> None:
    """Wait until squid answers on both ports; a connection is the one sign that every build of squid gives.

    Raises BoxFailed with squid's last words when it ends, or does not answer in time.
    """
    death = asyncio.create_task(pids.readable(pidfd))
    try:
        async with asyncio.timeout(_SECONDS):
            for port in (settings.proxy_port, settings.model_port):
                while not await _answers(port):
                    if death.done():
                        raise BoxFailed(f"squid ended at its start: {_last_words(runtime, settings)}")
                    await asyncio.sleep(0.01)
    except TimeoutError as e:
        raise BoxFailed(f"squid did not answer within {_SECONDS:g} s: {_last_words(runtime, settings)}") from e
    finally:
        death.cancel()
        with suppress(asyncio.CancelledError):
            await death  # or it would take the next one's look at the same descriptor away


async def _parse(argv: Sequence[str], settings: squid.Settings) -> None:
    """Let squid judge its configuration: what it calls an ERROR it would merely leave out, rules included."""
    async with processes.run([*argv, "-k", "parse"], env={"PATH": _PATH}, cwd=Path("/")) as process:
        await process.close_stdin()
        code, said = await process.wait(), process.stderr()
    wrong = [line for line in said.splitlines() if _is_wrong(line)]
    if code or wrong:
        reason = (wrong or said.splitlines() or [f"exit code {code}"])[-1]
        raise BoxFailed(f"squid refuses its configuration: {_without_key(reason, settings)}")


def _spawn(argv: Sequence[str], errors: Path) -> int:
    """Start squid in a session of its own, as a child that asyncio does not know of and so does not end with us."""
    return os.posix_spawn(
        shutil.which(argv[0], path=_PATH) or argv[0],
        list(argv),
        {"PATH": _PATH},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(errors), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ],
        setsid=True,
    )


def _as_owner(runtime: Runtime) -> list[str]:
    """Give root up before squid's first instruction."""
    if (owner := runtime.owner) is None:
        return []
    return ["setpriv", f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups", "--no-new-privs"]


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def _is_wrong(line: str) -> bool:
    return any(word in line for word in ("ERROR", "FATAL", "Bungled"))


def _last_words(runtime: Runtime, settings: squid.Settings) -> str:
    for name in ("start.log", "log/cache.log"):
        with suppress(OSError):
            lines = (runtime.path / name).read_text(encoding="utf-8", errors="replace").splitlines()
            if wrong := [line for line in lines if _is_wrong(line)]:
                return _without_key(wrong[-1], settings)
    return f"its log is {runtime.path}/log/cache.log"


def _without_key(text: str, settings: squid.Settings) -> str:
    key = settings.model.key
    return text.replace(key.get_secret_value(), "…") if key else text
