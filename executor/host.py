"""What this machine can do for a sandbox: looked at once, and told in sentences."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from executor import processes, sandbox, seccomp
from executor.errors import BoxFailed

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
"""Where the backend's own commands find programs."""

_INSTALL = "apt-get install --no-install-recommends"
_USER_NAMESPACES = (
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
)
"""Kernel settings, the value that forbids user namespaces, and the command that allows them."""


async def look(bwrap: str) -> sandbox.Host:
    """The machine as the sandbox needs it; raises BoxFailed with the command to run where something is missing."""
    if platform.system() != "Linux" or platform.machine() not in seccomp.machines():
        known = ", ".join(seccomp.machines())
        raise BoxFailed(f"The sandbox needs Linux on {known}; this is {platform.system()} on {platform.machine()}.")
    needed = {bwrap: "bubblewrap", "socat": "socat"}
    missing = [package for program, package in needed.items() if shutil.which(program, path=search()) is None]
    if missing:
        raise BoxFailed(f"{' and '.join(missing)} cannot be found: {_INSTALL} {' '.join(missing)}")
    try:
        options = await processes.output([bwrap, "--help"], env={"PATH": search()})
    except (OSError, ChildProcessError) as e:
        raise BoxFailed(f"{bwrap} does not run: {e}") from e
    return sandbox.survey(shutil.which(bwrap, path=search()) or bwrap, options.decode(errors="replace"))


def search() -> str:
    """PATH with the administrators' directories, which not every user's has."""
    return f"{os.environ.get('PATH', os.defpath)}:{PATH}"


def mend(settings: Path = Path("/proc/sys")) -> str:
    """The command that allows user namespaces, where the kernel's settings forbid them."""
    for name, forbids, command in _USER_NAMESPACES:
        setting = settings / name
        if setting.exists() and setting.read_text(encoding="ascii").strip() == forbids:
            return f" Allow user namespaces: {command}"
    return ""


def tell(host: sandbox.Host, group: Path | None, first_uid: int | None) -> list[str]:
    """What is enforced here, and what is not, as sentences."""
    nested = "refused by namespace and by filter" if host.disable_userns else "refused by the system-call filter alone"
    user = f"this user, {os.geteuid()}" if first_uid is None else f"users {first_uid + 1} and on, one a box"
    if group is None:
        why = "this machine gives us no cgroup v2"
        usage = [
            f"memory: each process is limited (RLIMIT_DATA, to 2 GiB at least), a job as a whole is not: {why}",
            f"processors: not limited: {why}",
        ]
    else:
        usage = [f"memory, processors and processes of a box: cgroup {group}"]
    return [
        f"sandboxes run as {user}",
        f"nested user namespaces: {nested}",
        *usage,
        "processes of a job: limited in its own user namespace (RLIMIT_NPROC)",
        "size of a file: limited (RLIMIT_FSIZE)",
        "temporary directories: 1 GiB each"
        if host.sized_tmpfs
        else "temporary directories: not limited, bwrap is too old",
    ]
