"""Ways out of the sandbox: someone inside tries each, and none opens but the one that was allowed.

Where it is cheap the same probe is run outside against the same target on loopback, where it succeeds: so it can fail.
What squid guarantees: the connection of an allowed CONNECT goes to the allowed host's address and port, and that of a
plain request to the host of its URL. What is said inside that connection, such as another name in the TLS greeting,
only the allowed host hears.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from boxing import Upstream, backend, box, run, said, upstream

from executor.local import LocalBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE4, NOWHERE6 = "192.0.2.1", "2001:db8::1"
"""Addresses for documentation; a probe outside is never aimed at them."""

PROBE = """
import ctypes, json, os, socket, sys
QUERY = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x07example\\x03org\\x00\\x00\\x01\\x00\\x01"
def tcp(host, port):
    with socket.create_connection((host, int(port)), 3):
        return "connected"
def udp(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.sendto(QUERY, (host, int(port)))
        return s.recvfrom(512)
def raw(host):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        return s.sendto(b"\\x08\\x00\\xf7\\xff\\x00\\x00\\x00\\x00", (host, 0))
def ping(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as s:
        return s.sendto(b"\\x08\\x00\\xf7\\xff\\x00\\x00\\x00\\x00", (host, 0))
def family(number, kind):
    socket.socket(int(number), int(kind)).close()
    return "made"
def unix(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(3)
        s.connect("\\0" + path[1:] if path[0] == "@" else path)
        return s.recv(16)
def resolve(name):
    return socket.getaddrinfo(name, 443)
def environ(marker):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in open(f"/proc/{pid}/environ", "rb").read() and int(pid) != os.getpid():
                return f"process {pid}"
        except OSError:
            pass
    raise OSError("no process has it")
def read(path):
    return open(path, "rb").read(40)
def ptrace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(0x4206, int(pid), None, None) < 0:  # PTRACE_SEIZE
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"
def kill(pid):
    os.kill(int(pid), 0)
    return "could signal"
def mount(source, target, kind, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), int(flags), None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return "mounted"
def umount(target):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(target.encode(), 2) < 0:
        raise OSError(ctypes.get_errno(), "umount")
    return "unmounted"
def unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(int(flags)) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return "unshared"
def write(path):
    with open(path, "ab") as f:
        f.write(b"")
    return "open for writing"
def setuid(uid):
    os.setresuid(int(uid), int(uid), int(uid))
    return "became"
def keys():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(250, 0, -3, 1, 0, 0) < 0:  # keyctl: the session's key ring
        raise OSError(ctypes.get_errno(), "keyctl")
    return "has the key ring"
for name, *words in json.loads(sys.argv[1]):
    pid = os.fork()  # what one probe opens is not the next one's
    if pid == 0:
        try:
            print("OPEN", globals()[name](*words), flush=True)
        except OSError as e:
            print("SHUT", e, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""

ASK = """
import json, socket, sys
for request, more in json.loads(sys.argv[2]):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as s:
        s.sendall(request.encode("latin-1"))
        s.settimeout(10)
        head = b""
        while b"\\r\\n\\r\\n" not in head and (part := s.recv(4096)):
            head += part
        print(head.split(b"\\r\\n")[0].split(b" ")[1].decode())
        if more:
            s.sendall(more.encode())
            print(s.recv(4096).partition(b"\\r\\n\\r\\n")[2].decode())
"""
PROXY, MODEL = 3128, 8318


@dataclass
class Lab:
    """A box that may reach one name, a box that may reach nothing, and what is to be found outside of them."""

    boxes: LocalBackend
    upstream: Upstream
    directory: Path

    async def inside(self, *probes: tuple[str, ...]) -> list[str]:
        """What each probe finds inside a box, in a job with a way out."""
        outcome = await run(self.boxes, "demo", ["python3", "-c", PROBE, json.dumps(probes)])
        assert len(outcome.lines) == len(probes), outcome
        return outcome.lines

    async def shut(self, *probes: tuple[str, ...]) -> None:
        """Assert that no probe finds a way inside."""
        assert [line for line in await self.inside(*probes) if not line.startswith("SHUT")] == []

    async def open_outside(self, *probes: tuple[str, ...]) -> str:
        """Assert that each of the same probes finds a way on the machine itself; what the last found."""
        argv = ["python3", "-c", PROBE, json.dumps(probes)]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=20, check=True)
        assert [line for line in done.stdout.splitlines() if not line.startswith("OPEN")] == []
        return done.stdout

    async def asks(self, *requests: str, project: str = "demo", port: int = PROXY, more: str = "") -> list[str]:
        """The answers' status to requests from inside, and what came after."""
        heads = [(request.replace("\n", "\r\n") + "\r\n\r\n", more) for request in requests]
        outcome = await run(self.boxes, project, ["python3", "-c", ASK, str(port), json.dumps(heads)])
        assert outcome.record.code == 0, outcome
        return outcome.lines

    async def connects(self, *targets: str, project: str = "demo") -> list[str]:
        """The proxy's answers to CONNECT."""
        return await self.asks(*(f"CONNECT {target} HTTP/1.1\nHost: {target}" for target in targets), project=project)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    directory = tmp_path_factory.mktemp("lab")
    if not shutil.which("python3", path="/usr/bin:/bin"):
        pytest.skip("the probes need /usr/bin/python3")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(upstream())
        boxes = await stack.enter_async_context(backend(directory / "state"))
        await boxes.start(
            box("demo", f"allowed.example.org:{server.port}", "inside.example.org", "metadata.example.org")
        )
        await boxes.start(box("other"))
        yield Lab(boxes, server, directory)


# the one that is open


async def test_allowed_name_is_reached(lab: Lab) -> None:
    port = lab.upstream.port
    assert await lab.connects(f"allowed.example.org:{port}") == ["200"]
    fetched = await run(lab.boxes, "demo", ["curl", "-sS", f"http://allowed.example.org:{port}/page"])
    assert fetched.output == "hello from upstream"


# the network


async def test_no_address_is_reached_directly(lab: Lab) -> None:
    port = str(lab.upstream.port)
    addresses = [(NOWHERE4, "443"), (NOWHERE6, "443"), ("169.254.169.254", "80"), ("127.0.0.1", port)]
    found = await lab.inside(*(("tcp", host, number) for host, number in addresses))
    assert [line.split("] ")[1] for line in found] == [*["Network is unreachable"] * 3, "Connection refused"]
    await lab.open_outside(("tcp", "127.0.0.1", port))


async def test_no_server_on_the_machines_ipv6_loopback_is_reached(lab: Lab) -> None:
    if not Path("/proc/net/if_inet6").exists() or "00000001" not in Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6 loopback")
    async with upstream("::1") as server:
        await lab.open_outside(("tcp", "::1", str(server.port)))
        await lab.shut(("tcp", "::1", str(server.port)))


async def test_no_name_server_is_asked(lab: Lab) -> None:
    await lab.shut(("udp", NOWHERE4, "53"), ("udp", NOWHERE6, "53"), ("tcp", NOWHERE4, "53"), ("tcp", NOWHERE6, "53"))
    await lab.shut(("resolve", "example.org"))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    probe = ("udp", "127.0.0.1", str(transport.get_extra_info("sockname")[1]))
    try:
        await lab.open_outside(probe)
        await lab.shut(probe)
    finally:
        transport.close()


class Echo(asyncio.DatagramProtocol):
    """A server that a question over UDP does reach."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def test_no_raw_or_icmp_socket_sends(lab: Lab) -> None:
    await lab.shut(*((kind, target) for kind in ("raw", "ping") for target in ("127.0.0.1", NOWHERE4)))
    if os.geteuid() == 0:
        await lab.open_outside(("raw", "127.0.0.1"))


async def test_no_socket_of_another_kind_is_made(lab: Lab) -> None:
    """AF_VSOCK, AF_PACKET, AF_ALG, AF_BLUETOOTH, AF_XDP: the first is fenced off by no network namespace."""
    kinds = [("40", "1"), ("17", "3"), ("38", "5"), ("31", "3"), ("44", "3")]
    found = await lab.inside(*(("family", family, kind) for family, kind in kinds))
    assert [line.split("] ")[1] for line in found] == ["Address family not supported by protocol"] * len(kinds)


async def test_control_a_vsock_is_made_outside(lab: Lab) -> None:
    if not Path("/dev/vsock").exists():
        pytest.skip("this machine has no AF_VSOCK")
    await lab.open_outside(("family", "40", "1"))


async def test_only_the_loopback_interface_exists(lab: Lab) -> None:
    outcome = await run(lab.boxes, "demo", ["python3", "-c", "import socket; print(socket.if_nameindex())"])
    assert outcome.output == "[(1, 'lo')]\n"


@pytest.mark.parametrize("abstract", [True, False], ids=["abstract", "file"])
async def test_no_unix_socket_of_the_machine_is_reached(lab: Lab, abstract: bool) -> None:
    name = f"@rdev-test-{os.getpid()}" if abstract else f"/tmp/rdev-test-{os.getpid()}.sock"
    heard: list[str] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append("someone")
        writer.write(b"the machine")
        writer.close()

    listening = socket.socket(socket.AF_UNIX)
    listening.bind("\0" + name[1:] if abstract else name)
    try:
        async with await asyncio.start_unix_server(serve, sock=listening):
            await lab.shut(("unix", name))
            assert heard == []
            assert "the machine" in await lab.open_outside(("unix", name))
    finally:
        if not abstract:
            Path(name).unlink()


async def test_command_without_network_has_not_even_squid(lab: Lab) -> None:
    probe = json.dumps([("tcp", "127.0.0.1", "3128"), ("tcp", NOWHERE4, "443")])
    code, output = await said(lab.boxes, "demo", ["python3", "-c", PROBE, probe])
    assert [line[:4] for line in output.splitlines()] == ["SHUT", "SHUT"]
    assert code == 0


# through squid


async def test_no_address_is_reached_through_squid(lab: Lab) -> None:
    """Allowed names lead to 127.0.0.1, and the reverse: where squid looked up an address's name, it would open."""
    port = lab.upstream.port
    hosts = [
        *(
            "127.0.0.1",
            "169.254.169.254",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0",
        ),
        *("[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25lo]", "[2001:db8::1]"),
    ]
    targets = [f"{host}:{number}" for host in hosts for number in (port, 443)]
    assert set(await lab.connects(*targets)) == {"403"}
    gets = [f"GET http://{target}/ HTTP/1.1\nHost: {target}" for target in targets]
    assert set(await lab.asks(*gets)) <= {"400", "403"}


async def test_no_other_port_of_an_allowed_name_is_reached(lab: Lab) -> None:
    async with upstream() as second:
        ports = (22, 25, 80, 443, second.port)
        assert set(await lab.connects(*(f"allowed.example.org:{port}" for port in ports))) == {"403"}
        await lab.open_outside(("tcp", "127.0.0.1", str(second.port)))


async def test_no_other_name_of_an_allowed_address_is_reached(lab: Lab) -> None:
    names = ("other.example.org", "localhost", "xallowed.example.org", "allowed.example.org.evil.test", "rdev")
    assert set(await lab.connects(*(f"{name}:{lab.upstream.port}" for name in names))) == {"403"}


async def test_no_allowed_name_leads_into_a_private_network(lab: Lab) -> None:
    assert await lab.connects("inside.example.org:443", "metadata.example.org:443") == ["403", "403"]
    assert await lab.asks("GET http://metadata.example.org/latest/ HTTP/1.1\nHost: x") == ["403"]


async def test_host_header_does_not_choose_the_host(lab: Lab) -> None:
    port, seen = lab.upstream.port, lab.upstream.received
    allowed, denied = f"allowed.example.org:{port}", f"other.example.org:{port}"
    answers = await lab.asks(
        f"GET http://{denied}/ HTTP/1.1\nHost: {allowed}",
        f"GET / HTTP/1.1\nHost: {allowed}",
        f"GET http://{allowed}/mark HTTP/1.1\nHost: {denied}",
    )
    assert answers == ["403", "400", "200"]
    request = next(head for head in reversed(seen) if b"/mark" in head)
    assert f"Host: {allowed}".encode() in request
    assert b"other.example.org" not in request


async def test_another_name_in_a_tunnel_is_heard_by_the_allowed_host_alone(lab: Lab) -> None:
    """As with SNI: squid does not look into a tunnel, but the tunnel's other end is fixed."""
    async with upstream() as elsewhere:
        greeting = f"GET / HTTP/1.1 Host: other.example.org:{elsewhere.port}"
        lines = await lab.asks(f"CONNECT allowed.example.org:{lab.upstream.port} HTTP/1.1", more=greeting)
        assert lines == ["200", "hello from upstream"]
        assert lab.upstream.received[-1] == greeting.encode()
        assert elsewhere.received == []


async def test_squid_itself_is_no_way(lab: Lab) -> None:
    port = lab.upstream.port
    answers = await lab.asks(
        f"GET ftp://allowed.example.org:{port}/ HTTP/1.1\nHost: x",
        f"TRACE http://allowed.example.org:{port}/ HTTP/1.1\nHost: x",
        "GET cache_object://127.0.0.1/config HTTP/1.1\nHost: rdev",
        "GET /squid-internal-mgr/config HTTP/1.1\nHost: rdev:3128",
        "GET http://rdev:3128/squid-internal-mgr/config HTTP/1.1\nHost: rdev:3128",
        "GET http://127.0.0.1:3128/squid-internal-mgr/menu HTTP/1.1\nHost: rdev:3128",
    )
    assert set(answers) <= {"400", "403"}


async def test_model_port_serves_the_model_alone(lab: Lab) -> None:
    paths = ("/", "/v2/x", "/v1/../x", "/v1/%2e%2e/x", "/squid-internal-mgr/config")
    assert set(await lab.asks(*(f"GET {path} HTTP/1.1\nHost: rdev" for path in paths), port=MODEL)) == {"403"}
    tunnel = await lab.asks(f"CONNECT allowed.example.org:{lab.upstream.port} HTTP/1.1", port=MODEL)
    assert tunnel[0] in ("403", "405")


async def test_another_box_has_its_own_list(lab: Lab) -> None:
    assert await lab.connects(f"allowed.example.org:{lab.upstream.port}", project="other") == ["403"]


# the machine


async def test_no_process_of_the_machine_is_seen(lab: Lab) -> None:
    marker = f"RDEV_TEST_MARK_{os.getpid()}"
    sleeper = await asyncio.create_subprocess_exec("sleep", "60", env={"MARK": marker})
    try:
        probes = [("environ", marker), ("kill", str(sleeper.pid)), ("ptrace", str(sleeper.pid))]
        await lab.open_outside(*probes[: 3 if os.geteuid() == 0 else 2])  # others may be kept from tracing by Yama
        await lab.shut(*probes)
        listed = await run(lab.boxes, "demo", ["sh", "-c", "ls /proc | grep -c '^[0-9]'"])
        assert int(listed.output) < 12
    finally:
        sleeper.kill()
        await sleeper.wait()


async def test_nothing_is_mounted(lab: Lab) -> None:
    await lab.shut(
        ("mount", "none", "/tmp", "tmpfs", "0"),
        ("mount", "proc", "/workspace", "proc", "0"),
        ("mount", "/usr", "/usr", "none", "4128"),  # MS_REMOUNT | MS_BIND, and not read-only any more
        ("umount", "/workspace"),
        ("umount", "/proc"),
    )


async def test_no_namespace_is_made(lab: Lab) -> None:
    user = ("unshare", str(0x10000000))
    await lab.shut(user, *(("unshare", str(flag)) for flag in (0x40000000, 0x20000, 0x20000000)))
    await lab.open_outside(user)


async def test_nobody_becomes_root(lab: Lab) -> None:
    await lab.shut(("setuid", "0"))
    script = "cp /bin/sh x && chmod 6755 x && ./x -pc 'id -u'; rm -f x; grep NoNewPrivs /proc/self/status; id -u"
    outcome = await run(lab.boxes, "demo", ["sh", "-c", script])
    assert outcome.lines == ["1000", "NoNewPrivs:\t1", "1000"]
    owned = await run(lab.boxes, "demo", ["find", "/usr/bin/passwd", "/usr/bin/su", "-uid", "0"])
    assert owned.output == ""  # root does not even exist in there


async def test_machine_is_not_written(lab: Lab) -> None:
    kernel = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches")
    files = ("/usr/bin/env", "/etc/passwd", "/x", "/dev/x", "/opt/rdev/claude", "/run/rdev/x")
    await lab.shut(*(("write", path) for path in (*kernel, *files)))
    assert (await lab.inside(("write", "/workspace/x")))[0].startswith("OPEN")


async def test_no_key_ring_is_inherited(lab: Lab) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the probe has x86-64's number of keyctl")
    await lab.shut(("keys",))


async def test_nothing_of_other_boxes_or_of_the_service_is_read(lab: Lab) -> None:
    await run(lab.boxes, "other", ["sh", "-c", "echo secret > /workspace/theirs"])
    theirs = lab.directory / "state" / "boxes" / "other" / "workspace" / "theirs"
    assert "secret" in await lab.open_outside(("read", str(theirs)))
    await lab.shut(*(("read", str(path)) for path in (theirs, lab.directory / "state/squid.json", "/etc/shadow")))
    search = "find / -name theirs -o -name squid.conf 2>/dev/null | grep -v ^/usr/"
    assert (await run(lab.boxes, "demo", ["sh", "-c", search])).output == ""
    shown = await run(lab.boxes, "demo", ["ls", "-A", "/", "/home", "/run", "/run/rdev"])
    assert not {"root", "sys", "mnt", "srv", "media", "boot"} & set(shown.output.split())


async def test_link_out_of_the_workspace_leads_nowhere(lab: Lab) -> None:
    script = "ln -sfn /etc/shadow l; cat l; ln -sfn ../../../.. m; ls m/root"
    outcome = await run(lab.boxes, "demo", ["sh", "-c", script])
    assert "No such file" in outcome.output
    assert "root:" not in outcome.output


async def test_terminal_of_the_machine_is_out_of_reach(lab: Lab) -> None:
    outcome = await run(lab.boxes, "demo", ["sh", "-c", "exec 3<>/dev/tty"])
    assert outcome.record.code != 0


# all of it as a plain user


async def test_all_of_this_holds_for_a_plain_user() -> None:
    """The suite again as `nobody`, who has no more than any user of the machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    python = unprivileged_python()
    if python is None:
        pytest.skip("no Python of this version that `nobody` may run")
    root = Path(__file__).parents[1]
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    base = Path("/tmp", f"rdev-nobody-{os.getpid()}")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}:{packages}", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    argv = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={base}", "-x", str(Path(__file__))]
    process = await asyncio.create_subprocess_exec(
        *("runuser", "-u", "nobody", "--", *argv),
        env=env,
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(240):
            output, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(base, ignore_errors=True)
    assert process.returncode == 0, output.decode()[-3000:]
    assert b"passed" in output


def unprivileged_python() -> str | None:
    """A Python that `nobody` may run, of our own version, since the packages are built for it."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3"):
        tried = subprocess.run(
            ["runuser", "-u", "nobody", "--", python, "-c", check], capture_output=True, timeout=20, check=False
        )
        if tried.returncode == 0:
            return python
    return None
