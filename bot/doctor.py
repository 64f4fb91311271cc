"""What of this machine rdev needs, looked at for real, and the command that mends what is missing."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.claude_cli import PINNED, bundled, executable
from bot.config import Claude, Config, LocalBackend, ModelApi, default_state_dir

_SECONDS = 20.0
_FREE_BYTES = 2 * 1024**3
_OPEN_FILES = 4096
_SANDBOX_UID = 61_000
"""Any unprivileged account: as root the sandbox's own start begins by giving root up."""
_USER_NAMESPACES = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "15000"),
)
"""Kernel settings, the value that forbids user namespaces, and the one that mends it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing rdev needs, and whether it is there."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    """What to do about it: a command when the check failed, advice when it is ok but not as tested."""


async def checks(config: Config | None, environ: Mapping[str, str]) -> list[Check]:
    """Look at everything; without a configuration, at what its defaults would need."""
    backend = config.backend if config else LocalBackend()
    claude = config.claude if config else Claude()
    model = config.model.url if config else ModelApi().url
    state_dir = config.state_dir if config else default_state_dir(environ)
    search = f"{environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    programs = await asyncio.gather(
        _program("bubblewrap", backend.bwrap, "--version", "bubblewrap", search),
        _squid(backend.squid, model, search),
        _program("socat", "socat", "-V", "socat", search),
        _program("git", "git", "--version", "git", search),
        _program("ssh", "ssh", "-V", "openssh-client", search),
    )
    found = shutil.which(backend.bwrap, path=search)
    return [
        _python(),
        _sqlite(),
        *programs,
        *([await _sandbox(found)] if found else []),
        await _claude(claude),
        _state(state_dir),
        _space(state_dir),
        _key(config, environ),
        _limits(Path("/sys/fs/cgroup")),
    ]


def report(results: Sequence[Check]) -> str:
    """The checks as lines of text, each with what mends it."""
    lines = []
    for check in results:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<10} {check.detail}")
        if check.mend:
            lines.append(f"{'':17}{'advice' if check.ok else 'mend'}: {check.mend}")
    return "\n".join(lines)


def userns_mend(settings: Mapping[str, str]) -> str:
    """The command that allows user namespaces, from the kernel settings as they are."""
    for name, forbids, allows in _USER_NAMESPACES:
        if settings.get(name) == forbids:
            return as_root(f"sysctl -w {name}={allows}")
    return (
        "in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined …"
    )


def as_root(command: str) -> str:
    """The command as this account must type it."""
    return command if os.geteuid() == 0 else f"sudo {command}"


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), version, "")


def _sqlite() -> Check:
    ok = sqlite3.sqlite_version_info >= (3, 37)
    return Check("sqlite", ok, sqlite3.sqlite_version, "" if ok else as_root("apt-get install libsqlite3-0"))


async def _program(name: str, program: str, flag: str, package: str, search: str) -> Check:
    install = as_root(f"apt-get install --no-install-recommends {package}")
    path = shutil.which(program, path=search)
    if path is None:
        return Check(name, False, f"{program} is not on PATH", install)
    code, output = await _run(path, flag)
    version = re.search(r"\d+(?:\.\d+)+\w*", output)
    if code != 0 or version is None:
        return Check(name, False, f"{path} {flag} failed: {_first_line(output)}", install)
    return Check(name, True, f"{version[0]}, {path}")


async def _squid(program: str, model: str, search: str) -> Check:
    check = await _program("squid", program, "--version", "squid-openssl", search)
    path = shutil.which(program, path=search)
    if (
        not check.ok
        or path is None
        or not model.startswith("https:")
        or "--with-openssl" in (await _run(path, "-v"))[1]
    ):
        return check
    detail = f"{check.detail}, built without OpenSSL: it would not check the certificate of {model}"
    return Check("squid", False, detail, as_root("apt-get install --no-install-recommends squid-openssl"))


async def _sandbox(bwrap: str) -> Check:
    argv = (bwrap, "--unshare-all", "--unshare-user", "--die-with-parent")
    code, output = await _run(
        *argv, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "true", unprivileged=True
    )
    if code == 0:
        return Check("sandbox", True, "user, PID and network namespaces work")
    settings = {name: _kernel_setting(name) for name, _, _ in _USER_NAMESPACES}
    return Check("sandbox", False, f"bubblewrap cannot make one: {_first_line(output)}", userns_mend(settings))


async def _claude(settings: Claude) -> Check:
    path = executable(settings)
    mend = "correct claude.path in the configuration, or remove it" if settings.path else "make setup"
    if not os.access(path, os.X_OK):
        return Check("claude", False, f"{path} is not an executable program", mend)
    code, output = await _run(str(path), "--version")
    version = re.match(r"\d+\.\d+\.\d+", output)
    if code != 0 or version is None:
        return Check("claude", False, f"{path} --version failed: {_first_line(output)}", mend)
    if version[0] == PINNED:
        return Check("claude", True, f"{PINNED} as pinned, {path}")
    advice = f"rdev is tested with {PINNED}; remove claude.path to use {bundled()}"
    return Check("claude", True, f"{version[0]}, not the pinned {PINNED}, {path}", advice)


def _state(directory: Path) -> Check:
    there = _existing(directory)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check("state", True, f"{directory} {'is writable' if there == directory else 'can be made'}")
    mend = as_root(f"install -d -m 0700 -o {os.geteuid()} -g {os.getegid()} {directory}")
    return Check("state", False, f"{directory} cannot be written: {there} is not a writable directory", mend)


def _space(directory: Path) -> Check:
    there = _existing(directory)
    free = shutil.disk_usage(there).free
    detail = f"{free / 1024**3:.1f} GiB free at {there}"
    if free >= _FREE_BYTES:
        return Check("space", True, detail)
    return Check("space", False, f"{detail}; 2 GiB are needed", f"du -xh --max-depth=2 {there} | sort -h | tail")


def _key(config: Config | None, environ: Mapping[str, str]) -> Check:
    source = config.model.key.source if config else "$ANTHROPIC_API_KEY"
    if config.model.secret if config else environ.get("ANTHROPIC_API_KEY"):
        return Check("model key", True, f"present in {source}")
    return Check("model key", False, f"{source} is not set", f"export {source.removeprefix('$')}=<the key>")


def _limits(cgroups: Path) -> Check:
    soft_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if soft_files != resource.RLIM_INFINITY and soft_files < _OPEN_FILES:
        return Check(
            "limits", False, f"only {soft_files} open files are allowed", as_root(f"prlimit -p $$ -n{_OPEN_FILES}")
        )
    controllers = cgroups / "cgroup.controllers"
    names = controllers.read_text().split() if controllers.exists() else []
    if {"cpu", "memory", "pids"} <= set(names) and os.access(cgroups, os.W_OK):
        return Check("limits", True, "cgroup v2: CPU, memory and processes of each job")
    return Check("limits", True, "resource limits, for each process of a job: no writable cgroup v2 here")


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists() or place == place.parent)


def _kernel_setting(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""


def _first_line(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[0][:200]


async def _run(*argv: str, unprivileged: bool = False) -> tuple[int, str]:
    """Exit code and output of a short command; 124 when it does not end."""
    account = _SANDBOX_UID if unprivileged and os.geteuid() == 0 else None
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd="/", user=account, group=account, extra_groups=[] if account else None,
        )  # fmt: skip
    except OSError as error:
        return 126, str(error)
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, f"no answer within {_SECONDS:.0f} s"
    return process.returncode or 0, output.decode(errors="replace")
