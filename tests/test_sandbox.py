"""The sandbox in words, and the system-call filter run against the kernel itself."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from executor import seccomp
from executor.backend import Limits
from executor.sandbox import (
    LEAST_DATA,
    Host,
    Wrapping,
    environment,
    etc_files,
    inner,
    limited,
    network_environment,
    rlimits,
    survey,
    wrap_file,
)

HOST = Host("/usr/bin/bwrap", links={"/bin": "usr/bin"}, directories=("/lib32",), etc=("/etc/ssl/certs",))
WRAPPING = Wrapping(
    project="demo",
    workspace=Path("/state/boxes/demo/workspace"),
    claude=Path("/state/boxes/demo/claude"),
    made=Path("/state/boxes/demo/run/made"),
    cli=Path("/somewhere/claude"),
    limits=Limits(2, 4 << 30, 100, 1 << 20),
    address="127.64.1",
    proxy_port=21001,
    model_port=21002,
)


def wrap(host: Host = HOST, **more: object) -> dict[str, list[str]]:
    return dict(json.loads(wrap_file(host, replace(WRAPPING, **more))))  # type: ignore[arg-type]


def pairs(argv: list[str], option: str) -> list[tuple[str, str]]:
    return [(argv[n + 1], argv[n + 2]) for n, word in enumerate(argv) if word == option]


def test_every_namespace_is_its_own_and_no_right_is_left() -> None:
    prefix = wrap()["prefix"]
    for option in ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"):
        assert option in prefix
    assert prefix[prefix.index("--cap-drop") + 1] == "ALL"
    assert "--share-net" not in prefix
    assert "--as-pid-1" not in prefix  # zombies would pile up
    assert prefix[prefix.index("--uid") + 1] == "1000"


def test_prefix_ends_where_boxrun_adds_the_network_and_the_command() -> None:
    assert wrap()["prefix"][-3:] == ["--chdir", "{cwd}", "--"]


def test_only_the_workspace_and_claudes_memory_can_be_written() -> None:
    assert pairs(wrap()["prefix"], "--bind") == [
        ("{mount:workspace}", "/workspace"),
        ("{mount:claude}", "/home/agent/.claude"),
    ]


def test_nothing_else_of_the_machine_is_shown() -> None:
    shown = [source for source, _ in pairs(wrap()["prefix"], "--ro-bind") if not source.startswith("{mount:made}")]
    assert shown == ["/usr", "/lib32", "/etc/ssl/certs", "{mount:cli}"]
    assert "/state" not in json.dumps(wrap()["prefix"])


def test_more_is_shown_where_the_administrator_says_so_and_read_only() -> None:
    made = wrap(readonly_paths=(Path("/opt/tools"),))
    assert ("{mount:read0}", "/opt/tools") in pairs(made["prefix"], "--ro-bind")
    assert dict(made["mounts"])["read0"] == "/opt/tools"


def test_command_without_network_gets_no_socket() -> None:
    made = wrap()
    assert "/run/rdev" not in [target for _, target in pairs(made["prefix"], "--ro-bind")]
    assert pairs(made["network_prefix"], "--ro-bind") == [("{run}", "/run/rdev")]


def test_bridges_dial_from_the_jobs_own_address_to_squids_two_ports() -> None:
    made = wrap()
    assert [bridge[-1] for bridge in made["bridges"]] == [
        "TCP4:127.0.0.1:21001,bind={address}",
        "TCP4:127.0.0.1:21002,bind={address}",
    ]
    assert made["address"] == "127.64.1.{slot}"


def test_older_bubblewrap_gets_no_option_it_does_not_know() -> None:
    prefix = wrap(replace(HOST, disable_userns=False, sized_tmpfs=False))["prefix"]
    assert "--disable-userns" not in prefix
    assert "--size" not in prefix
    assert "--seccomp" in prefix  # which refuses nested namespaces as well


def test_survey_reads_from_bubblewraps_help_what_it_can() -> None:
    assert not survey("bwrap", "--unshare-all").disable_userns
    found = survey("bwrap", "--disable-userns  --size BYTES")
    assert found.disable_userns
    assert found.sized_tmpfs
    assert set(found.links) | set(found.directories) >= {"/bin", "/lib"}


def test_etc_speaks_of_the_box_alone() -> None:
    files = etc_files("demo")
    assert files["resolv.conf"] == ""
    assert "agent:x:1000:1000" in files["passwd"]
    assert platform.node() == "demo" or platform.node() not in "".join(files.values())


def test_local_addresses_do_not_go_through_the_proxy() -> None:
    env = network_environment()
    assert env["HTTPS_PROXY"] == env["http_proxy"] == "http://127.0.0.1:3128"
    assert "127.0.0.1" in env["no_proxy"].split(",")  # or the CLI would ask squid for its own model port
    assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8318"
    assert environment()["HOME"] == "/home/agent"


def test_limits_of_a_process() -> None:
    limits = Limits(2, 8 << 30, 100, 1 << 20)
    assert rlimits(limits, own_user=True, grouped=False) == {
        "CORE": 0,
        "NOFILE": 8192,
        "FSIZE": 1 << 20,
        "NPROC": 800,
        "DATA": 8 << 30,
    }


def test_plain_users_other_processes_do_not_count_against_a_job() -> None:
    assert "NPROC" not in rlimits(Limits(processes=100), own_user=False, grouped=False)


def test_memory_limit_leaves_claude_room_to_start_and_yields_to_a_cgroup() -> None:
    assert rlimits(Limits(memory_bytes=1), own_user=False, grouped=False)["DATA"] == LEAST_DATA
    assert "DATA" not in rlimits(Limits(memory_bytes=1), own_user=False, grouped=True)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_processes_are_limited_in_either_shells_dialect(shell: str) -> None:
    argv = [shell, *limited(["sh", "-c", "cat /proc/self/limits"], Limits(processes=123))[1:]]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10)
    row = next(line for line in said.stdout.splitlines() if line.startswith("Max processes"))
    assert row.split()[2:4] == ["123", "123"]


def test_without_a_limit_nothing_stands_before_the_command() -> None:
    assert limited(["true"], Limits()) == ["true"]
    assert "ulimit" not in " ".join(inner(Limits()))


# the filter


def test_there_is_a_filter_for_each_usual_processor() -> None:
    assert {"x86_64", "aarch64"} <= set(seccomp.machines())
    for machine in seccomp.machines():
        program = seccomp.program(machine)
        assert len(program) % 8 == 0
        assert len(program) // 8 <= 4096  # what the kernel takes
    with pytest.raises(KeyError):
        seccomp.program("z80")


TRY = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try:
        result = action()
        code = 0 if result is None or result >= 0 else ctypes.get_errno()
    except OSError as e:
        code = e.errno
    print(name, errno.errorcode.get(code, code))
call = lambda *a: libc.syscall(*map(ctypes.c_long, a))
def made(*a):
    socket.socket(*a).close()
attempt("unix", lambda: made(socket.AF_UNIX, socket.SOCK_STREAM))
attempt("inet", lambda: made(socket.AF_INET, socket.SOCK_STREAM))
attempt("inet6", lambda: made(socket.AF_INET6, socket.SOCK_DGRAM))
attempt("route", lambda: made(socket.AF_NETLINK, socket.SOCK_RAW, 0))
attempt("audit", lambda: made(socket.AF_NETLINK, socket.SOCK_RAW, 9))
attempt("vsock", lambda: made(40, socket.SOCK_STREAM))
attempt("packet", lambda: made(17, socket.SOCK_RAW))
attempt("alg", lambda: made(38, socket.SOCK_SEQPACKET))
attempt("io_uring", lambda: call(425, 1, 0))
attempt("clone3", lambda: call(435, 0, 0))
attempt("userns", lambda: libc.unshare(0x10000000))
attempt("mountns", lambda: libc.unshare(0x20000))
attempt("files", lambda: libc.unshare(0x400))
attempt("setns", lambda: libc.setns(0, 0))
attempt("mount", lambda: libc.mount(b"none", b"/mnt", b"tmpfs", 0, None))
attempt("tiocsti", lambda: libc.ioctl(0, 0x5412, b"x"))
attempt("tiocgwinsz", lambda: libc.ioctl(0, 0x5413, ctypes.create_string_buffer(8)))
pid = os.fork()
if pid == 0:
    os._exit(7)
print("fork", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

INSTALL = """
import ctypes, sys
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
code = open(sys.argv[1], "rb").read()
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(code)
program = Program(len(code) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, ctypes.get_errno()
"""


def attempts(tmp_path: Path, script: str) -> dict[str, str]:
    file = tmp_path / "filter"
    file.write_bytes(seccomp.program(platform.machine()))
    said = subprocess.run(
        ["python3", "-c", script, str(file)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=True,
    )
    return dict(line.split() for line in said.stdout.splitlines())


@pytest.mark.skipif(platform.machine() not in seccomp.machines(), reason="no filter for this processor")
def test_filter_refuses_what_namespaces_do_not_fence_off(tmp_path: Path) -> None:
    found = attempts(tmp_path, INSTALL + TRY)
    for name in ("unix", "inet", "inet6", "route", "files"):
        assert found[name] == "0", name
    assert found["fork"] == "7"
    assert found["tiocgwinsz"] == "ENOTTY"  # passed on to the kernel
    for name in ("vsock", "packet", "alg"):
        assert found[name] == "EAFNOSUPPORT", name
    assert found["audit"] == "EPROTONOSUPPORT"
    assert found["clone3"] == "ENOSYS"
    for name in ("io_uring", "userns", "mountns", "setns", "mount", "tiocsti"):
        assert found[name] == "EPERM", name


@pytest.mark.skipif(platform.machine() not in seccomp.machines(), reason="no filter for this processor")
def test_without_the_filter_the_kernel_answers_otherwise(tmp_path: Path) -> None:
    """So the refusals above are the filter's own."""
    script = "".join(line for line in TRY.splitlines(keepends=True) if "mount" not in line)
    found = attempts(tmp_path, script)
    assert found["clone3"] == "EINVAL"
    assert found["setns"] == "EINVAL"
    assert found["io_uring"] in ("EFAULT", "EPERM")
    assert found["tiocsti"] == "ENOTTY"
