"""The sandbox in words: bwrap's arguments and the wrap file that boxrun starts every command of a box by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.backend import Limits

UID = 1000
"""Who the agent is inside, whoever that is outside."""
HOME = "/home/agent"
PROXY, MODEL = 3128, 8318
"""Where, inside, the way out and the model's API are."""
TMP_BYTES, SHM_BYTES = 1 << 30, 256 << 20
OPEN_FILES = 8192
LEAST_DATA = 2 << 30
"""Claude's CLI reserves up to 1.5 GiB before its first word, of which it uses a fifth."""

_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    *("alternatives", "ca-certificates", "fonts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "mime.types", "perl"),
    *("pki/ca-trust", "pki/tls/certs", "protocols", "services", "ssl/certs", "ssl/openssl.cnf"),
)
"""What programs look for in /etc and what tells nothing of this machine; with globs for Java and Python below."""
_ETC_GLOBS = ("java-*-openjdk", "python3*")

_OUTSIDE = 'exec 9<"$1"; shift; exec "$@"'
"""Opens the system-call filter for bwrap and becomes bwrap: boxrun must stay its direct parent."""

_LIMIT = "ulimit -p {0} 2>/dev/null || ulimit -u {0}; "
"""Inside, and so counted in the job's own user namespace; -p is dash's and busybox's letter, -u is bash's."""

_INSIDE = """\
(socat -b65536 -t600 TCP4-LISTEN:3128,bind=127.0.0.1,reuseaddr,fork UNIX-CONNECT:/run/rdev/proxy.sock &
socat -b65536 -t600 TCP4-LISTEN:8318,bind=127.0.0.1,reuseaddr,fork UNIX-CONNECT:/run/rdev/model.sock &) \
</dev/null >/dev/null 2>&1
tries=0 open=0
until [ $open = 2 ]; do
    tries=$((tries + 1)) open=0
    [ $tries -lt 200 ] || sleep 0.01
    [ $tries -lt 1000 ] || { echo 'rdev: the way out of the sandbox did not open' >&2; exit 125; }
    while read -r _ local _ state _; do
        case $local:$state in 0100007F:0C38:0A | 0100007F:207E:0A) open=$((open + 1)) ;; esac
    done </proc/net/tcp
done
"""
"""Both ends listen before the job's first instruction; nothing tells when a socket listens, so we look."""


@dataclass(frozen=True, slots=True)
class Host:
    """What of this machine the sandbox is made from."""

    bwrap: str
    disable_userns: bool = True
    sized_tmpfs: bool = True
    links: Mapping[str, str] = field(default_factory=dict)
    """Directories of / that are links into /usr, and where they lead."""
    directories: tuple[str, ...] = ()
    """Those that are directories themselves."""
    etc: tuple[str, ...] = ()
    timezone: str = ""
    """Where /etc/localtime leads."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What one box's sandbox is made of; paths are the machine's own."""

    project: str
    workspace: Path
    claude: Path
    """What persists as ~/.claude."""
    made: Path
    """The directory of etc_files and the system-call filter."""
    cli: Path
    readonly_paths: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    uid: int | None = None
    cgroup: str = ""
    address: str = ""
    """The first three numbers of the addresses its jobs dial from."""
    proxy_port: int = 0
    model_port: int = 0


def survey(bwrap: str, options: str) -> Host:
    """Look at this machine; `options` is what `bwrap --help` says."""
    links = {top: str(Path(top).readlink()) for top in _TOP if Path(top).is_symlink()}
    found = [Path("/etc", name) for name in _ETC]
    for glob in _ETC_GLOBS:
        found += sorted(Path("/etc").glob(glob))
    localtime = Path("/etc/localtime")
    zone = str(localtime.resolve()) if localtime.exists() else ""
    return Host(
        bwrap,
        disable_userns="--disable-userns" in options,
        sized_tmpfs="--size" in options,
        links=links,
        directories=tuple(top for top in _TOP if top not in links and Path(top).is_dir()),
        etc=tuple(str(path) for path in found if path.exists()),
        timezone=zone if zone.startswith("/usr/") else "",
    )


def etc_files(project: str) -> dict[str, str]:
    """The files of /etc that speak of the box and not of the machine."""
    return {
        "passwd": f"root:x:0:0:root:/root:/bin/sh\nagent:x:{UID}:{UID}:agent:{HOME}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{UID}:\nnogroup:x:65534:\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {project}\n",
        "hostname": f"{project}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
        "resolv.conf": "",
    }


def environment() -> dict[str, str]:
    """What every command in the sandbox finds set."""
    return {
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "TMPDIR": "/tmp",  # noqa: S108  # its own, inside
        "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/rdev",
        "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
    }


def network_environment() -> dict[str, str]:
    """What a command with a way out finds set beside."""
    proxy, local = f"http://127.0.0.1:{PROXY}", "localhost,127.0.0.1,::1"
    names = {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": local}
    both = {**names, **{name.upper(): value for name, value in names.items()}}
    return {**both, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{MODEL}", "NODE_USE_ENV_PROXY": "1"}


def wrap_file(host: Host, wrapping: Wrapping) -> str:
    """The wrap file, as boxrun reads it."""
    readonly = {f"read{number}": path for number, path in enumerate(wrapping.readonly_paths)}
    mounts = {
        "workspace": wrapping.workspace,
        "claude": wrapping.claude,
        "made": wrapping.made,
        "cli": wrapping.cli,
        **readonly,
    }
    wrap: dict[str, Any] = {
        "prefix": [
            *("/bin/sh", "-c", _OUTSIDE, "sh", "{mount:made}/filter"),
            *(host.bwrap, "--seccomp", "9", *_namespaces(host, wrapping.project)),
            *_system(host),
            *_places(host, {name: str(path) for name, path in readonly.items()}),
            *("--remount-ro", "/dev", "--remount-ro", "/"),
            *_set(environment()),
            *("--chdir", "{cwd}", "--"),
        ],
        "mounts": {name: str(path.resolve()) for name, path in mounts.items()},
        "uid": wrapping.uid,
        "gid": wrapping.uid,
        "rlimits": rlimits(wrapping.limits, own_user=wrapping.uid is not None, grouped=bool(wrapping.cgroup)),
        "cgroup": wrapping.cgroup or None,
        "address": f"{wrapping.address}.{{slot}}",
        "bridges": [_bridge("proxy.sock", wrapping.proxy_port), _bridge("model.sock", wrapping.model_port)],
        "sockets": ["proxy.sock", "model.sock"],
        "network_prefix": ["--ro-bind", "{run}", "/run/rdev", *_set(network_environment())],
        "inner": inner(wrapping.limits),
    }
    return json.dumps(wrap, indent=1)


def inner(limits: Limits) -> list[str]:
    """The argv before a job's own that opens the way out and limits the job's processes."""
    limit = _LIMIT.format(limits.processes) if limits.processes else ""
    return ["/bin/sh", "-c", f'{_INSIDE}{limit}exec "$@"', "sh"]


def limited(argv: Sequence[str], limits: Limits) -> list[str]:
    """A command without network under the same limit of processes."""
    if not limits.processes:
        return list(argv)
    return ["/bin/sh", "-c", _LIMIT.format(limits.processes) + 'exec "$@"', "sh", *argv]


def rlimits(limits: Limits, *, own_user: bool, grouped: bool) -> dict[str, int]:
    """What the kernel holds every process of a job to, by RLIMIT names; memory where no cgroup holds all of them."""
    found = {"CORE": 0, "NOFILE": OPEN_FILES}
    if limits.file_bytes:
        found["FSIZE"] = limits.file_bytes
    if limits.processes and own_user:
        found["NPROC"] = 8 * limits.processes  # of all jobs of the box; a job's own limit is set inside
    if limits.memory_bytes and not grouped:
        found["DATA"] = max(limits.memory_bytes, LEAST_DATA)
    return found


def _namespaces(host: Host, project: str) -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"),
        *(("--disable-userns",) if host.disable_userns else ()),
        *("--cap-drop", "ALL", "--uid", str(UID), "--gid", str(UID), "--hostname", project),
    ]


def _system(host: Host) -> list[str]:
    """The machine's programs, read-only, and an /etc that tells nothing of it."""
    args = ["--ro-bind", "/usr", "/usr"]
    for parent in ("/etc", "/etc/ssl", "/etc/pki", "/etc/pki/tls", "/opt", "/opt/rdev", "/var"):
        args += ["--dir", parent]  # bwrap would make them for their owner alone
    for top, target in host.links.items():
        args += ["--symlink", target, top]
    for path in (*host.directories, *host.etc):
        args += ["--ro-bind", path, path]
    for name in etc_files(""):
        args += ["--ro-bind", f"{{mount:made}}/{name}", f"/etc/{name}"]
    if host.timezone:
        args += ["--symlink", host.timezone, "/etc/localtime"]
    args += ["--symlink", "../usr/lib/os-release", "/etc/os-release"]
    return [*args, "--symlink", "/proc/self/mounts", "/etc/mtab"]


def _places(host: Host, readonly: Mapping[str, str]) -> list[str]:
    """Where the agent works, and what more was allowed to be read."""
    args = ["--proc", "/proc", "--dev", "/dev", *_tmpfs(host, SHM_BYTES, "/dev/shm"), "--dir", "/run/rdev"]  # noqa: S108
    args += [*_tmpfs(host, TMP_BYTES, "/tmp"), *_tmpfs(host, TMP_BYTES, HOME), "--symlink", "/tmp", "/var/tmp"]  # noqa: S108
    args += ["--bind", "{mount:workspace}", "/workspace", "--bind", "{mount:claude}", f"{HOME}/.claude"]
    args += ["--ro-bind", "{mount:cli}", "/opt/rdev/claude"]
    for name, path in readonly.items():
        args += ["--ro-bind", f"{{mount:{name}}}", path]
    return args


def _tmpfs(host: Host, size: int, path: str) -> list[str]:
    return [*(("--size", str(size)) if host.sized_tmpfs else ()), "--tmpfs", path]


def _set(values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--setenv", name, value)]


def _bridge(socket: str, port: int) -> list[str]:
    """From a socket of the job's to squid, dialled from the job's own address: what squid knows it by."""
    listen = f"UNIX-LISTEN:{{run}}/{socket},fork,mode=666,max-children=512"
    return ["socat", "-b65536", "-t600", listen, f"TCP4:127.0.0.1:{port},bind={{address}}"]
