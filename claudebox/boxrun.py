"""boxrun: runs jobs that outlive whoever started them, and tells what they print, byte by byte.

    boxrun --root DIR [--wrap FILE] VERB …

    start JOB [--length N]        the specification (JSON) on stdin; answers when the process runs
    follow                        journals of many jobs as frames on stdout; requests on stdin
    follow-one JOB [--offset N]   the same for one job
    send JOB --length N           one line on stdin becomes the next line of the job's input
    eof JOB                       ends the job's input after what was sent
    stop JOB [--interrupt-length N] [--grace SECONDS]
    list | gc JOB…
    exec [--cwd DIR] [--stdin] -- argv…

A job is a directory DIR/jobs/JOB of plain files. Its runner, a detached process of this program, holds `lock` while it
lives, feeds `in.jsonl` to the job and writes `exit` last, when nothing of the job lives any more: lock free and no
`exit` means the job was lost. Nothing here needs a daemon, a port or a package.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # `typing` itself would cost more to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

CHUNK = 262144
"""Bytes of a journal in one frame, at most."""
LINE = 32 << 20
"""Bytes of one line of input, at most."""
INPUT = 1 << 30
"""Bytes of all the lines of a job, about."""
GRACE = 1.0
BEAT = 15.0
PACE = 0.004
"""Seconds between two rounds of a follower that has caught up."""
LOG = 65536
"""Bytes of runner.log, at most."""
STAGE = "/mnt"
"""Where a mount namespace of its own shows the job's directories, in whatever mode their parents are."""
NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
UNKNOWN, REFUSED, WRONG = "unknown", 3, 2

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS = 0x20000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
IN_MODIFY, IN_MOVED_TO, IN_Q_OVERFLOW, IN_NONBLOCK, IN_CLOEXEC = 2, 0x80, 0x4000, 0o4000, 0o2000000
F_SETPIPE_SZ = 1031
EVENT = struct.Struct("iIII")


class Refusal(Exception):
    """What was asked cannot be done; the text is for people, or a word of the protocol."""

    def __init__(self, text: str, code: int = WRONG) -> None:
        super().__init__(text)
        self.code = code


# ── the kernel ────────────────────────────────────────────────────────────────────────────────────────────────────────


def kernel(function: str, *args: int | bytes | None) -> int:
    """Call the C library; raises OSError."""
    import ctypes  # noqa: PLC0415  # 3 ms that send, list and stop need not spend

    library = ctypes.CDLL(None, use_errno=True)
    result = int(getattr(library, function)(*args))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    try:
        kernel("mount", os.fsencode(source), os.fsencode(target), kind.encode(), flags, data.encode())
    except OSError as e:
        raise Refusal(f"The sandbox could not be staged: {source} at {target}: {e.strerror}.") from e


def attempt(call: Callable[[], object]) -> None:
    """Do what may as well fail; contextlib would cost a millisecond of every start."""
    try:
        call()
    except OSError:
        return


def start_time(pid: int) -> str:
    """When the process started, in the kernel's own ticks: tells a pid from its next owner; empty when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rsplit(b")", 1)[1].split()[19].decode()
    except OSError:
        return ""


def ended(pidfd: int, seconds: float) -> bool:
    """Wait for a process to end."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def children(pid: int) -> list[int]:
    """The living and unreaped children of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as f:
                found += map(int, f.read().split())
    except OSError:
        pass  # it ended while we looked
    return found


def descendants(roots: Iterable[int]) -> list[int]:
    """The processes given and all below them."""
    found = list(roots)
    for pid in found:
        found += children(pid)
    return found


def kill(pids: Iterable[int], number: int) -> None:
    """Send a signal to those that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # gone, or a setuid program that only its own parent's death ends


def marked(marks: dict[str, str]) -> list[int]:
    """Processes that carry a job's marks in their environment, but for ourselves and those above us."""
    ours, pid = set(), os.getpid()
    while pid > 1:
        ours.add(pid)
        with open(f"/proc/{pid}/stat", "rb") as f:
            pid = int(f.read().rsplit(b")", 1)[1].split()[1])
    words, found = {f"{name}={value}".encode() for name, value in marks.items()}, []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in ours:
            try:
                with open(f"/proc/{name}/environ", "rb") as f:
                    if words.issubset(f.read().split(b"\0")):
                        found.append(int(name))
            except OSError:
                continue  # another user's, or gone
    return found


def sweep(job: Job) -> bool:
    """Kill what a lost runner left behind; whether nothing is left."""
    for _ in range(100):
        left = marked(job.marks())
        if not left:
            return True
        kill(descendants(left), signal.SIGKILL)
        time.sleep(0.02)  # they are not our children: nothing tells of their end
    return False


def default_signals() -> None:
    """Undo what Python, we or who started us ignore or block, so that a job starts as from a shell."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def spawn(execute: Callable[[], None]) -> int:
    """Fork a child that dies with us and becomes another program; raises Refusal when it cannot."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            default_signals()
            os.umask(0o022)
            execute()
        except BaseException as e:  # noqa: BLE001  # a fork must never return into its parent's code
            os.write(writing, str(e).encode(errors="replace")[:4000] or b"?")
        finally:
            os._exit(127)
    os.close(writing)
    with open(reading, "rb") as f:
        reason = f.read().decode(errors="replace")
    if reason:
        os.waitpid(pid, 0)
        raise Refusal(reason)
    return pid


def die_with(parent: int) -> None:
    """Be killed when the parent dies; after any change of user, which clears this."""
    kernel("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


def program(name: str, path: str) -> str:
    """The file that a command's name stands for."""
    if "/" in name:
        return name
    for directory in path.split(":"):
        file = f"{directory or '.'}/{name}"
        if os.access(file, os.X_OK) and os.path.isfile(file):
            return file
    raise Refusal(f"The program {name!r} was not found on PATH ({path}).")


def execute(argv: Sequence[str], env: dict[str, str], path: str) -> NoReturn:
    """Become the program."""
    try:
        os.execve(program(argv[0], path), list(argv), env)  # noqa: S606  # the argv is the job
    except OSError as e:
        raise Refusal(f"{argv[0]!r} could not be started: {e.strerror}.") from e


# ── a job's directory ─────────────────────────────────────────────────────────────────────────────────────────────────


class Job:
    """The files of one job."""

    __slots__ = ("id", "path")

    def __init__(self, root: str, job: str) -> None:
        if not 0 < len(job) <= 64 or not NAMES.issuperset(job):
            raise Refusal(f"{job[:80]!r} is no job id: 1 to 64 of a-z, 0-9 and dashes.")
        self.id = job
        self.path = f"{root}/jobs/{job}"

    def marks(self) -> dict[str, str]:
        """What all its processes carry in their environment: its id, and the box's, since other boxes have ids too."""
        box = os.stat(f"{self.path}/../..")
        return {"RDEV_JOB": self.id, "RDEV_BOX": f"{box.st_dev}-{box.st_ino}"}

    def file(self, name: str) -> str:
        return f"{self.path}/{name}"

    def has(self, name: str) -> bool:
        return os.path.exists(f"{self.path}/{name}")

    def known(self) -> Job:
        """Itself; raises Refusal when there is no such job."""
        if not os.path.isdir(self.path):
            raise Refusal(UNKNOWN, REFUSED)
        return self

    def put(self, name: str, text: str, *, sync: bool = False) -> None:
        """Write a file whole, by rename."""
        fd = os.open(self.file(name + ".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            if sync:
                os.fsync(fd)
        os.rename(self.file(name + ".new"), self.file(name))
        if sync:
            directory = os.open(self.path, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)

    def text(self, name: str) -> str:
        """A small file's text, empty when there is none."""
        try:
            with open(self.file(name), encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def record(self) -> dict[str, Any] | None:
        """How the job ended, once it has."""
        text = self.text("exit")
        return dict(json.loads(text)) if text else None

    def held(self) -> bool:
        """Whether a runner lives."""
        try:
            fd = os.open(self.file("lock"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look at once must not see each other
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def state(self) -> str:
        if not self.has("exit") and self.held():
            return "running"
        return "exited" if self.has("exit") else "lost"  # asked again: it may have ended since

    def runner(self) -> int:
        """A pidfd of the runner, -1 when it is gone."""
        pid, _, began = self.text("pid").strip().partition(" ")
        try:
            fd = os.pidfd_open(int(pid or 0))
        except (OSError, ValueError):
            return -1
        if start_time(int(pid)) == began and not ended(fd, 0):  # a zombie is dead, whoever neglects to bury it
            return fd
        os.close(fd)
        return -1

    def sign(self) -> None:
        """Write who runs the job now."""
        self.put("pid", f"{os.getpid()} {start_time(os.getpid())}\n")

    def ring(self) -> None:
        """Wake the runner; a bell that nobody hears or that rings already is as good."""
        try:
            fd = os.open(self.file("bell"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        attempt(lambda: os.write(fd, b"!"))
        os.close(fd)

    def size(self, name: str = "out") -> int:
        try:
            return os.stat(self.file(name)).st_size
        except FileNotFoundError:
            return 0


def read_exactly(length: int | None) -> bytes:
    """That many bytes of stdin, or all; fewer when it ends early."""
    with open(0, "rb", closefd=False) as f:
        return f.read() if length is None else f.read(length)


def no_number(name: str) -> NoReturn:
    raise ValueError(name)


def check_line(line: bytes) -> None:
    """Refuse what is not one JSON object on one line: a torn line would kill who reads it."""
    if line[-1:] != b"\n" or b"\n" in line[:-1] or b"\r" in line:
        raise Refusal("not one line", REFUSED)
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=no_number)  # NaN and the like are not JSON
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("not a JSON object", REFUSED)


# ── the sandbox ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Wrap:
    """How a command gets into the box's sandbox, as the backend wrote it; without a file it runs as it is."""

    def __init__(self, path: str) -> None:
        conf: dict[str, Any] = {}
        if path:
            with open(path, encoding="utf-8") as f:
                conf = json.load(f)
        self.prefix: list[str] = conf.get("prefix") or []
        self.network: list[str] = conf.get("network_prefix") or []
        self.inner: list[str] = conf.get("inner") or []
        self.bridges: list[list[str]] = conf.get("bridges") or []
        self.sockets: list[str] = conf.get("sockets") or []
        self.mounts: dict[str, str] = conf.get("mounts") or {}
        self.rlimits: dict[str, int] = conf.get("rlimits") or {}
        self.cgroup: str = conf.get("cgroup") or ""
        self.address: str = conf.get("address") or ""
        self.uid: int | None = conf.get("uid")
        self.gid: int | None = conf.get("gid", self.uid)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """What a command sees: little, and what was asked for."""
        boxed = bool(self.prefix)
        path = "/usr/local/bin:/usr/bin:/bin:/opt/rdev" if boxed else os.environ.get("PATH", os.defpath)
        home = "/home/agent" if boxed else os.environ.get("HOME", "/")
        return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb", **more}

    def source(self, slot: int, address: str) -> str:
        """Where a job's connections come from: what was asked for, else its slot's address; empty for no network."""
        if not self.prefix or not self.bridges:
            return ""
        return address or (self.address.replace("{slot}", str(slot)) if slot else "")

    def command(self, argv: list[str], places: dict[str, str], *, network: bool) -> list[str]:
        """The whole command line."""
        prefix = list(self.prefix)
        if network:
            before_command = len(prefix) - (prefix[-1:] == ["--"])
            prefix[before_command:before_command] = self.network
            argv = self.inner + argv
        return self.fill(prefix, places) + argv

    def fill(self, words: list[str], places: dict[str, str]) -> list[str]:
        """Replace {cwd}, {run}, {address} and {mount:NAME}."""
        import re  # noqa: PLC0415  # json has it loaded already

        shown = {f"mount:{name}": self.shown(name) for name in self.mounts}
        values = {**places, **shown}
        return [re.sub(r"\{([a-z]+(?::[^{}]+)?)\}", lambda m: values.get(m[1], m[0]), word) for word in words]

    def shown(self, name: str) -> str:
        """Where the sandbox's maker finds a mount."""
        return self.mounts[name] if self.uid is None else f"{STAGE}/{name}"

    def enter(self, cwd: str, parent: int) -> None:
        """Turn this process into one that may start the sandbox: cgroup, mounts, limits, user."""
        if self.cgroup:
            with open(f"{self.cgroup}/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))
        if self.uid is not None:
            self.stage()
        self.limit()
        if self.uid is not None:
            gid = self.uid if self.gid is None else self.gid
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(self.uid, self.uid, self.uid)
        if cwd and not self.prefix:
            os.chdir(cwd)
        if parent:
            die_with(parent)

    def stage(self) -> None:
        """Show the mounts below one small directory that any user may pass, in a mount namespace of our own."""
        kernel("unshare", CLONE_NEWNS)
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        sources = {name: os.open(path, os.O_PATH) for name, path in self.mounts.items()}  # /mnt may hide them
        mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=64k")
        for name, fd in sources.items():
            target = f"{STAGE}/{name}"
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.mkdir(target)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
            mount(f"/proc/self/fd/{fd}", target, "", MS_BIND | MS_REC)
            os.close(fd)

    def limit(self) -> None:
        """Set the resource limits, no higher than ours."""
        import resource  # noqa: PLC0415  # only a starting job needs it

        for name, value in self.rlimits.items():
            number = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(number)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (most, most))


# ── the runner ────────────────────────────────────────────────────────────────────────────────────────────────────────


def log(text: str) -> None:
    """A line in runner.log, as long as there is room."""
    if os.fstat(2).st_size < LOG:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n".encode()
        attempt(lambda: os.write(2, line))  # the volume may be full


class Input:
    """Feeds in.jsonl to the job, whole lines only, and never waits for a job that does not read."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.source = os.open(job.file("in.jsonl"), os.O_RDONLY | os.O_CLOEXEC)
        self.child_end, self.pipe = os.pipe()
        os.set_blocking(self.pipe, False)
        self.torn = bytearray()
        self.too_long = False
        self.block = b""
        self.sent = 0
        self.ending = False

    def waits(self) -> bool:
        """Whether the job has yet to read what it was sent."""
        return self.pipe >= 0 and self.sent < len(self.block)

    def feed(self) -> None:
        """Pass on what there is and fits."""
        while self.pipe >= 0 and (self.sent < len(self.block) or self.refill()):
            try:
                self.sent += os.write(self.pipe, memoryview(self.block)[self.sent :])
            except BlockingIOError:
                return
            except BrokenPipeError:
                self.close()

    def refill(self) -> bool:
        """Take the next lines of in.jsonl; False when there are none for now."""
        ended = self.ending or self.job.has("eof")  # looked at first: nothing is appended once it is there
        self.block, self.sent = b"", 0
        while not self.block and not self.ending:
            chunk = os.read(self.source, CHUNK)
            if not chunk:
                break
            self.block = self.take(chunk)
        if ended and not self.block:
            self.close()
        return bool(self.block)

    def take(self, chunk: bytes) -> bytes:
        """The good whole lines that end in this chunk."""
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            lines = (bytes(self.torn) + head).split(b"\n")
            self.torn.clear()
            lines = lines[self.too_long :]
            self.too_long = False
        else:
            lines = []
        self.torn += tail
        if len(self.torn) > LINE:
            log(f"refused a line of more than {LINE} bytes")
            self.torn.clear()
            self.too_long = True
        return b"".join(line + b"\n" for line in lines if self.good(line))

    def good(self, line: bytes) -> bool:
        try:
            check_line(line + b"\n")
        except Refusal as e:
            if line:
                log(f"refused a line of {len(line)} bytes: {e}")
            return False
        return True

    def interrupt(self, line: bytes) -> None:
        """Let the line in progress end, then say this and nothing more."""
        begun = self.sent and self.block[self.sent - 1 : self.sent] != b"\n"
        rest = self.block[self.sent : self.block.index(b"\n", self.sent) + 1] if begun else b""
        self.block, self.sent, self.ending = rest + line, 0, True
        self.feed()

    def close(self) -> None:
        """No more input: those who still send are told."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        close_input(self.job)


def close_input(job: Job) -> None:
    os.close(os.open(job.file("eof"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


class Runner:
    """The process a job hangs on: starts it, feeds it, stops it, and writes down how it ended."""

    def __init__(self, job: Job, spec: dict[str, Any], wrap: Wrap) -> None:
        limits = spec["limits"]
        self.job, self.spec, self.wrap = job, spec, wrap
        self.address = wrap.source(spec["slot"], spec["address"])
        self.input = Input(job) if spec["input"] == "jsonl" else None
        self.main = 0
        self.status: int | None = None
        self.bridges: dict[int, str] = {}
        self.reason, self.message = "exited", ""
        self.steps = [signal.SIGTERM, signal.SIGKILL]
        self.grace = GRACE
        self.step_at = self.limit_at = self.look_at = float("inf")
        self.seconds, self.cap = limits["seconds"], limits["journal_bytes"]
        self.terminated = self.written = False
        self.directory = os.open(job.path, os.O_RDONLY | os.O_CLOEXEC)
        self.bell = os.open(job.file("bell"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.awake, waker = os.pipe()
        for fd in (self.awake, waker):
            os.set_blocking(fd, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGIO, self.on_write)
        signal.signal(signal.SIGTERM, self.on_terminate)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        kernel("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def on_write(self, *_: object) -> None:
        self.written = True

    def on_terminate(self, *_: object) -> None:
        self.terminated = True

    def run(self, answer: Callable[[dict[str, Any]], None]) -> None:
        """The job's whole life."""
        started = time.time()
        try:
            self.launch()
        except (Refusal, OSError) as e:
            self.reason, self.message = "failed", str(e)
        else:
            answer({"job": self.job.id, "started": True, "pid": self.main})
            self.watch()
        if self.input:
            self.input.close()
        self.clear()
        self.finish(started)
        if self.reason == "failed":
            answer({"job": self.job.id, "started": False, "state": "exited", "error": self.message})

    # starting

    def launch(self) -> None:
        run = self.job.file("run")
        if self.address:
            os.mkdir(run)
            os.chmod(run, 0o700 if self.wrap.uid is None else 0o711)
            self.wrap.mounts["run"] = run
            self.bridge(run)
        cwd = self.spec["cwd"]
        places = {"cwd": cwd, "address": self.address, "run": self.wrap.shown("run") if self.address else ""}
        argv = self.wrap.command(self.spec["argv"], places, network=bool(self.address))
        env = self.wrap.environment({**self.spec["env"], **self.job.marks()})
        path = os.environ.get("PATH", os.defpath) if self.wrap.prefix else env["PATH"]
        parent = os.getpid()

        def become() -> None:
            os.setsid()
            self.redirect()
            self.wrap.enter(cwd, parent)
            execute(argv, env, path)

        self.main = spawn(become)
        if self.input:
            os.close(self.input.child_end)
        self.limit_at = time.monotonic() + self.seconds if self.seconds else self.limit_at

    def redirect(self) -> None:
        """Give the job its stdin, the journal and its stderr."""
        flags = os.O_WRONLY | os.O_APPEND
        out = os.open(self.job.file("out"), flags)
        os.dup2(self.input.child_end if self.input else os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(os.open(self.job.file("err"), flags) if self.spec["stderr"] == "file" else out, 2)

    def bridge(self, run: str) -> None:
        """Start the bridges out of the sandbox and wait for their sockets."""
        directory = os.open(run, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.fcntl(directory, fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_MULTISHOT)
        for words in self.wrap.bridges:
            argv = self.wrap.fill(words, {"run": ".", "address": self.address})  # a socket's path has 108 bytes at most
            self.bridges[self.spawn_bridge(argv, run)] = argv[0]
        until = time.monotonic() + 5
        while not all(os.path.exists(f"{run}/{name}") for name in self.wrap.sockets):
            self.reap()
            if len(self.bridges) < len(self.wrap.bridges) or time.monotonic() > until:
                raise Refusal(f"The way out of the sandbox could not be opened: {self.job.text('runner.log')[-500:]}")
            self.sleep(0.2)
        os.close(directory)

    def spawn_bridge(self, argv: list[str], run: str) -> int:
        parent, path = os.getpid(), os.environ.get("PATH", os.defpath)
        env = {"PATH": path, **self.job.marks()}

        def become() -> None:
            import resource  # noqa: PLC0415  # the child's own

            os.chdir(run)
            resource.setrlimit(resource.RLIMIT_FSIZE, (LOG, LOG))  # its only file is the log
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            die_with(parent)
            execute(argv, env, path)

        return spawn(become)

    # watching

    def watch(self) -> None:
        """Until the job's first process has ended."""
        self.look(time.monotonic())
        while self.reap() and self.status is None:
            now = time.monotonic()
            self.obey(now)
            if self.input:
                self.input.feed()
            until = min(self.step_at, self.limit_at, self.look_at if self.written else self.limit_at)
            self.sleep(until - now)

    def obey(self, now: float) -> None:
        """Stop the job where someone or some limit wants it."""
        if self.job.has("stop"):
            request = json.loads(self.job.text("stop") or "{}")
            os.unlink(self.job.file("stop"))
            self.stop("stopped", "The job was stopped.", request["grace"], interrupt=request["interrupt"].encode())
        if self.terminated:
            self.stop("stopped", "The box was shut down while the job ran.", GRACE)
        if now >= self.limit_at:
            self.limit_at = float("inf")
            self.stop("timeout", f"The job ran longer than its {duration(self.seconds)} and was stopped.", GRACE)
        if self.written and now >= self.look_at:
            self.look(now)
        if now >= self.step_at:
            self.send(self.steps.pop(0))
            self.step_at = now + self.grace if self.steps else float("inf")

    def look(self, now: float) -> None:
        """Hold the journal to its cap; the kernel says that it grew, but we look no oftener than it could fill up."""
        if not self.cap:
            return
        self.written = False
        try:
            fcntl.fcntl(self.directory, fcntl.F_NOTIFY, fcntl.DN_MODIFY)
        except OSError:
            self.written = True  # a kernel without it: then by time alone
        left = self.cap - max(self.job.size(), self.job.size("err"))
        self.look_at = now + min(1.0, max(0.005, left / 4e9))
        if left <= 0:
            self.cap = 0
            text = f"The job wrote more than the {amount(self.spec['limits']['journal_bytes'])} it may and was stopped."
            self.stop("journal_full", text, 0.2, first=signal.SIGTERM)

    def sleep(self, seconds: float) -> None:
        """Wait for a signal, the bell, room in the job's stdin, or the time."""
        poll = select.poll()
        poll.register(self.awake, select.POLLIN)
        poll.register(self.bell, select.POLLIN)
        pipe = self.input.pipe if self.input else -1
        if self.input and pipe >= 0:
            poll.register(pipe, select.POLLOUT if self.input.waits() else 0)
        ready = poll.poll(None if seconds == float("inf") else max(0.0, seconds * 1000))
        for fd, events in ready:
            if fd != pipe:
                drain(fd)
            elif self.input and events & select.POLLERR:
                self.input.close()

    def reap(self) -> bool:
        """Bury the dead; whether a child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.status = status
            elif pid in self.bridges:
                log(f"{self.bridges.pop(pid)} ended with status {status}")

    # stopping

    def stop(
        self, reason: str, message: str, grace: float, *, interrupt: bytes = b"", first: int = signal.SIGINT
    ) -> None:
        """Begin to stop the job, or hurry the stop under way."""
        if self.reason == "exited":
            self.reason, self.message = reason, message
            if interrupt and self.input and self.input.pipe >= 0:
                self.input.interrupt(interrupt)
            else:
                self.send(first)
        self.terminated = False
        self.grace = min(grace, self.grace)
        if self.steps:
            self.step_at = min(self.step_at, time.monotonic() + grace)

    def send(self, number: int) -> None:
        """Signal every process of the job; of the sandbox itself only to kill, since with it all die at once."""
        pids = descendants(pid for pid in children(os.getpid()) if pid not in self.bridges)
        spared = set() if number == signal.SIGKILL else self.keepers()
        kill((pid for pid in pids if pid not in spared), number)

    def keepers(self) -> set[int]:
        """The sandbox's own processes: its maker and the first process of its PID namespace."""
        if not self.wrap.prefix:
            return set()
        first = [pid for pid in children(self.main) if is_namespace_init(pid)]
        return {self.main, *first} if first else set()

    def clear(self) -> None:
        """Kill whatever is left and wait for its death; as a subreaper we are the parent of every orphan."""
        pause = 0.01
        while self.reap():
            kill(descendants(children(os.getpid())), signal.SIGKILL)
            if self.reap():
                self.sleep(pause)
                pause = min(0.5, pause * 1.5)

    def finish(self, started: float) -> None:
        """Write how it ended: last, whole and for good."""
        if self.address:
            remove(self.job.file("run"))
        status = self.status or 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        if self.reason == "failed":
            code = 127
        elif self.wrap.prefix and 128 < code <= 128 + 64:
            number = code - 128  # bwrap's way to pass on a signal
        if self.reason == "exited" and code and self.spec["stderr"] == "file":
            self.message = self.last_words()
        record = {"code": code, "signal": number, "reason": self.reason, "started": started, "ended": time.time()}
        text = json.dumps({**record, "size": self.job.size(), "message": self.message})
        while not self.job.has("exit"):
            attempt(lambda: self.job.put("exit", text, sync=True))
            if not self.job.has("exit"):
                time.sleep(1)  # a full volume: nothing tells of room, and without its end the job would count as lost

    def last_words(self) -> str:
        """The end of what the job wrote to stderr."""
        with open(self.job.file("err"), "rb") as f:
            f.seek(max(0, self.job.size("err") - 2000))
            return f.read().decode(errors="replace").strip()


def is_namespace_init(pid: int) -> bool:
    """Whether the process is the first of a PID namespace below ours."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            line = next((line for line in f if line.startswith("NSpid:")), "")
    except OSError:
        return False
    return len(line.split()) > 2 and line.split()[-1] == "1"


def drain(fd: int) -> None:
    """Empty a pipe that only wakes."""
    try:
        while len(os.read(fd, 4096)) == 4096:
            pass
    except BlockingIOError:
        return


def remove(path: str) -> None:
    """Remove a directory of ours and all in it."""
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(path)


def amount(size: int) -> str:
    """Bytes for people."""
    value, unit = float(size), "bytes"
    for bigger in ("KiB", "MiB", "GiB"):
        if value >= 1024:
            value, unit = value / 1024, bigger
    return f"{value:.4g} {unit}"


def duration(seconds: float) -> str:
    """A time limit for people."""
    return f"{seconds:g} seconds" if seconds < 120 else f"{seconds / 60:g} minutes"


# ── followers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Followed:
    """One job in a follower's hands."""

    __slots__ = ("ended", "fd", "gone", "job", "offset", "runner", "watch")

    def __init__(self, job: Job, offset: int, watch: int) -> None:
        self.job, self.offset, self.watch = job, offset, watch
        self.fd = os.open(job.file("out"), os.O_RDONLY | os.O_CLOEXEC)
        self.runner = -1
        self.ended = self.gone = False


def raise_files() -> None:
    """Allow ourselves as many open files as may be: a followed job has two."""
    import resource  # noqa: PLC0415  # only followers need it

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Follower:
    """Tells, on stdout and in frames, what many jobs write; waits for the kernel's word and for a reader with room."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.jobs: dict[str, Followed] = {}
        self.watches: dict[int, str] = {}
        self.runners: dict[int, str] = {}
        self.ready: dict[str, None] = {}
        self.frames: list[bytes] = []
        self.held = 0
        self.requests = b""
        self.asking = False
        self.spoke = time.monotonic()
        self.round = 0.0
        self.inotify = kernel("inotify_init1", IN_NONBLOCK | IN_CLOEXEC)
        self.poll = select.epoll()
        self.poll.register(self.inotify, select.EPOLLIN)
        os.set_blocking(1, True)
        raise_files()
        attempt(lambda: fcntl.fcntl(1, F_SETPIPE_SZ, 1 << 20))  # not when it is no pipe
        attempt(lambda: self.poll.register(1, 0))  # tells when nobody reads any more; not of a file

    def run(self) -> None:
        """Until stdin has ended and every followed job too."""
        while self.asking or self.jobs:
            for job in list(self.ready):
                self.advance(self.jobs[job])
            self.flush()
            if self.ready:
                self.wait(0)
            elif self.asking or self.jobs:
                self.wait(BEAT - (time.monotonic() - self.spoke))
                self.gather()

    def gather(self) -> None:
        """Let many small writes become one frame: what comes right after a round waits a moment for more."""
        pause = self.round + PACE - time.monotonic()
        if pause > 0:
            time.sleep(pause)
            self.wait(0)
        self.round = time.monotonic()

    # requests

    def listen(self) -> None:
        """Take requests from stdin from now on."""
        self.asking = True
        try:
            self.poll.register(0, select.EPOLLIN)
        except OSError:  # a file: all there at once
            while self.asking:
                self.hear()

    def hear(self) -> None:
        data = os.read(0, 65536)
        if not data:
            self.asking = False
            attempt(lambda: self.poll.unregister(0))
        *lines, self.requests = (self.requests + data).split(b"\n")
        if len(self.requests) > 65536:
            raise Refusal("A request is one line of at most 64 KiB.")
        for line in lines:
            self.obey(line)

    def obey(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            name, offset = str(request.get("follow") or request["unfollow"]), int(request.get("offset", 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            self.say({"job": "", "error": "not a request"})
            return
        if name in self.jobs:
            self.drop(self.jobs[name])
        if "follow" in request:
            self.follow(name, max(0, offset))

    def follow(self, name: str, offset: int) -> None:
        """Begin to tell of a job."""
        try:
            job = Job(self.root, name).known()
            watch = kernel("inotify_add_watch", self.inotify, os.fsencode(job.path), IN_MODIFY | IN_MOVED_TO)
            followed = Followed(job, offset, watch)
        except Refusal:
            self.say({"job": name, "error": UNKNOWN})
        except FileNotFoundError:  # removed while we looked
            self.say({"job": name, "error": UNKNOWN})
        except OSError as e:
            self.say({"job": name, "error": e.strerror})
        else:
            self.jobs[name] = followed
            self.watches[watch] = name
            self.ready[name] = None
            self.attach(followed)

    def attach(self, followed: Followed) -> None:
        """Learn of the runner's death; whether it ended the job is looked at after that, so nothing is missed."""
        self.detach(followed)
        followed.ended = followed.job.has("exit")
        followed.runner = -1 if followed.ended else followed.job.runner()
        followed.gone = followed.runner < 0
        if followed.runner >= 0:
            self.runners[followed.runner] = followed.job.id
            self.poll.register(followed.runner, select.EPOLLIN)

    def detach(self, followed: Followed) -> None:
        if followed.runner >= 0:
            self.poll.unregister(followed.runner)
            self.runners.pop(followed.runner)
            os.close(followed.runner)
            followed.runner = -1

    def drop(self, followed: Followed) -> None:
        """Tell of it no more."""
        self.detach(followed)
        os.close(followed.fd)
        self.watches.pop(followed.watch, None)
        attempt(lambda: kernel("inotify_rm_watch", self.inotify, followed.watch))  # not of a removed directory
        self.jobs.pop(followed.job.id)
        self.ready.pop(followed.job.id, None)

    # telling

    def advance(self, followed: Followed) -> None:
        """Tell the next chunk of one job, or its end."""
        name, over = followed.job.id, followed.ended  # known before the read: nothing is written after it
        data = os.pread(followed.fd, CHUNK, followed.offset)
        if data:
            self.say({"job": name, "offset": followed.offset, "length": len(data)}, data)
            followed.offset += len(data)
        if len(data) == CHUNK:
            return
        if over:
            self.say({"job": name, "offset": followed.offset, "exit": followed.job.record()})
            self.drop(followed)
        elif followed.gone:
            self.judge(followed)
        else:
            del self.ready[name]

    def judge(self, followed: Followed) -> None:
        """The runner we knew is gone: it has handed over, has ended the job, or was killed."""
        self.attach(followed)
        if not followed.gone or followed.ended:
            return
        if followed.job.state() == "lost":
            self.say({"job": followed.job.id, "lost": True, "offset": followed.offset})
            self.drop(followed)
        else:
            time.sleep(0.005)  # its lock is let go of in a moment, with its last fork

    def say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.frames.append(json.dumps(header).encode() + b"\n")
        self.frames.append(payload)
        self.held += len(payload) + 100
        if self.held >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write what is held back; waits while nobody reads, and so bounds what we hold."""
        if self.frames:
            data = memoryview(b"".join(self.frames))
            self.frames.clear()
            self.held = 0
            while data:
                data = data[os.write(1, data) :]
            self.spoke = time.monotonic()

    # waiting

    def wait(self, seconds: float) -> None:
        """Take in what has happened, waiting for it at most so long."""
        for fd, events in self.poll.poll(max(0.0, seconds)):
            if fd == self.inotify:
                self.notice(os.read(fd, 65536))
            elif fd in self.runners:
                followed = self.jobs[self.runners[fd]]
                self.attach(followed)
                self.ready[followed.job.id] = None
            elif fd == 0:
                self.hear()
            elif fd == 1 and events & (select.EPOLLERR | select.EPOLLHUP):
                raise BrokenPipeError
        if time.monotonic() - self.spoke >= BEAT:
            self.say({"beat": True})
        self.flush()

    def notice(self, events: bytes) -> None:
        """Mark the jobs whose files changed."""
        at = 0
        while at < len(events):
            watch, mask, _, length = EVENT.unpack_from(events, at)
            name = events[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0")
            at += EVENT.size + length
            job = self.watches.get(watch, "")
            if mask & IN_Q_OVERFLOW:
                self.look_at_all()
            elif job and name in (b"out", b"exit", b"pid"):
                self.ready[job] = None
                self.jobs[job].ended |= name == b"exit"

    def look_at_all(self) -> None:
        for name, followed in self.jobs.items():
            followed.ended |= followed.job.has("exit")
            self.ready[name] = None


# ── what can be asked ─────────────────────────────────────────────────────────────────────────────────────────────────


def options(words: list[str], **kinds: Callable[[str], Any]) -> tuple[list[str], dict[str, Any]]:
    """Split `--name value` (or, for bool, `--name`) from the rest."""
    rest: list[str] = []
    found: dict[str, Any] = {}
    words = list(words)
    while words:
        word = words.pop(0)
        name = word[2:].replace("-", "_") if word.startswith("--") else ""
        if word == "--":
            return rest + words, found
        if not name:
            rest.append(word)
        elif kinds.get(name) is bool:
            found[name] = True
        elif name in kinds and words:
            try:
                found[name] = kinds[name](words.pop(0))
            except ValueError as e:
                raise Refusal(f"{word} wants a number.") from e
        else:
            raise Refusal(f"{word} is not an option here, or lacks its value.")
    return rest, found


def only(words: list[str]) -> str:
    if len(words) != 1:
        raise Refusal("Exactly one job id is wanted.")
    return words[0]


def tell(value: dict[str, Any]) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(v, str) and "\0" not in v for v in values)


def specification(text: bytes) -> dict[str, Any]:
    """The job asked for, checked."""
    try:
        spec = json.loads(text)
        limits = spec.get("limits") or {}
        checked = {
            "argv": spec["argv"],
            "env": spec.get("env") or {},
            "cwd": spec.get("cwd", ""),
            "input": spec.get("input", "none"),
            "stderr": spec.get("stderr", "journal"),
            "slot": spec.get("slot", 0),
            "address": spec.get("address", ""),
            "limits": {name: float(limits.get(name, 0)) for name in ("seconds", "journal_bytes")},
        }
        env = checked["env"]
        good = strings(checked["argv"]) and checked["argv"] and strings([*env, *env.values(), checked["cwd"]])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Refusal(f"The job's specification could not be read: {e!r}.") from e
    if not good or checked["input"] not in ("jsonl", "none") or checked["stderr"] not in ("journal", "file"):
        raise Refusal("The job's specification is wrong: argv, env and cwd are text, input is jsonl or none.")
    return checked


def start(root: str, wrap: str, words: list[str]) -> None:
    rest, found = options(words, length=int)
    job = Job(root, only(rest))
    text = read_exactly(found.get("length"))
    if len(text) < found.get("length", 0):
        raise Refusal("short")
    spec, wrapping = specification(text), Wrap(wrap)
    lock = -1 if os.path.isdir(job.path) else create(root, job, spec)
    if lock < 0:
        tell({"job": job.id, "started": False, "state": job.state()})
        return
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            detach({lock, writing}, job)
            Runner(job, spec, wrapping).run(lambda answer: reply(writing, answer))
        except BaseException as e:  # noqa: BLE001  # a fork must never return into its parent's code
            log(f"the runner failed: {e!r}")
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as f:
        answer = f.readline()
    if not answer:
        raise Refusal(f"The job's runner died at its start: {job.text('runner.log')[-1000:]}")
    os.write(1, answer)


def create(root: str, job: Job, spec: dict[str, Any]) -> int:
    """Make the job's directory, with its lock held, and appear with it at once; -1 when another was first."""
    os.makedirs(f"{root}/jobs", mode=0o700, exist_ok=True)
    draft = Job(root, job.id)
    draft.path = f"{root}/jobs/.new-{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(draft.path, 0o700)
    for name in ("in.jsonl", "out", "err", "runner.log") + (("eof",) if spec["input"] == "none" else ()):
        os.close(os.open(draft.file(name), os.O_CREAT | os.O_WRONLY, 0o600))
    os.mkfifo(draft.file("bell"), 0o600)
    draft.put("spec.json", json.dumps({**spec, "env": sorted(spec["env"])}))  # the values may be secrets
    draft.sign()
    lock = os.open(draft.file("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        os.rename(draft.path, job.path)
    except OSError:
        os.close(lock)
        remove(draft.path)
        if not os.path.isdir(job.path):
            raise
        return -1
    return lock


def detach(keep: set[int], job: Job) -> None:
    """Leave whoever started us: session, files, directory."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in keep:
            attempt(lambda fd=fd: os.close(fd))  # type: ignore[misc]  # the listing's own is closed already
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(os.open(job.file("runner.log"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), 2)
    job.sign()


def reply(fd: int, answer: dict[str, Any]) -> None:
    attempt(lambda: os.write(fd, json.dumps(answer).encode() + b"\n"))  # whoever started the job may have gone
    os.close(fd)


def follow(root: str, _wrap: str, words: list[str]) -> None:
    if words:
        raise Refusal("follow takes its jobs from stdin.")
    follower = Follower(root)
    follower.listen()
    follower.run()


def follow_one(root: str, _wrap: str, words: list[str]) -> None:
    rest, found = options(words, offset=int)
    follower = Follower(root)
    follower.follow(only(rest), found.get("offset", 0))
    follower.run()
    follower.flush()


def send(root: str, _wrap: str, words: list[str]) -> None:
    rest, found = options(words, length=int)
    job = Job(root, only(rest))
    length = found.get("length", 0)
    line = read_exactly(min(length, LINE + 1))
    if length > LINE:
        raise Refusal(f"A line has at most {amount(LINE)}.")
    if len(line) < length:
        raise Refusal("short", REFUSED)
    check_line(line)
    job.known()
    fd = os.open(job.file("in.jsonl"), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    if job.has("eof") or job.state() != "running":
        raise Refusal("closed", REFUSED)
    size = os.fstat(fd).st_size
    if size > INPUT:
        raise Refusal(f"The job has been sent {amount(INPUT)} already, and takes no more.")
    if size and os.pread(fd, 1, size - 1) != b"\n":
        line = b"\n" + line  # a sender was killed in its write: its torn line ends here, and is refused
    written = os.write(fd, line)
    os.close(fd)
    if written < len(line):
        raise Refusal("The line was not delivered: the volume is full.")
    job.ring()
    tell({"sent": True})


def eof(root: str, _wrap: str, words: list[str]) -> None:
    job = Job(root, only(words)).known()
    fd = os.open(job.file("in.jsonl"), os.O_WRONLY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    close_input(job)
    os.close(fd)
    job.ring()
    tell({"closed": True})


def stop(root: str, _wrap: str, words: list[str]) -> None:
    rest, found = options(words, interrupt_length=int, grace=float)
    job = Job(root, only(rest))
    grace = max(0.0, found.get("grace", GRACE))
    line = read_exactly(min(LINE, found.get("interrupt_length", 0)))
    try:
        check_line(line)
    except Refusal:
        line = b""  # whatever is wrong with the interrupt: a stop is a stop, and SIGINT is one too
    runner = job.known().runner()
    for _ in range(200):
        if runner >= 0 or job.state() != "running":
            break
        time.sleep(0.005)  # who started it has died, and its runner has yet to sign
        runner = job.runner()
    if runner >= 0:
        try:
            job.put("stop", json.dumps({"grace": grace, "interrupt": line.decode()}))
            job.ring()
        except OSError:  # a full volume
            attempt(lambda: signal.pidfd_send_signal(runner, signal.SIGTERM))
        if not ended(runner, 2 * grace + 1.5):  # its steps are over by then
            attempt(lambda: signal.pidfd_send_signal(runner, signal.SIGKILL))  # and with it the sandbox
            ended(runner, 1)
    record = job.record()
    if record is None and not sweep(job):
        raise Refusal("Some processes of the job could not be killed; they may be stuck in the kernel.")
    tell(record or {"lost": True})


def jobs(root: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(f"{root}/jobs") if NAMES.issuperset(name))
    except FileNotFoundError:
        return []


def list_jobs(root: str, _wrap: str, _words: list[str]) -> None:
    for name in jobs(root):
        job = Job(root, name)
        state = job.state()
        tell({"job": name, "state": state, "size": job.size(), "exit": job.record() if state == "exited" else None})


def gc(root: str, _wrap: str, words: list[str]) -> None:
    drop_drafts(root)
    for name in words:
        job = Job(root, name)
        state = job.state() if os.path.isdir(job.path) else UNKNOWN
        if state in ("running", UNKNOWN) or (state == "lost" and not sweep(job)):
            tell({"job": name, "removed": False, "error": state})
            continue
        gone = f"{root}/jobs/.old-{os.getpid()}-{name}"
        os.rename(job.path, gone)
        remove(gone)
        tell({"job": name, "removed": True})


def drop_drafts(root: str) -> None:
    """Remove what killed starts and removals left half-done."""
    try:
        entries = list(os.scandir(f"{root}/jobs"))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith(".") and entry.stat().st_mtime < time.time() - 60:
            remove(entry.path)


def run_once(root: str, wrap: str, words: list[str]) -> None:
    """Run a command in the sandbox, in the foreground and without network."""
    cut = words.index("--") if "--" in words else len(words)
    _, found = options(words[:cut], cwd=str, stdin=bool)
    argv, wrapping = words[cut + 1 :], Wrap(wrap)
    if not argv:
        raise Refusal("exec wants a command after --.")
    cwd = found.get("cwd") or ("/workspace" if wrapping.prefix else "")
    env = wrapping.environment(json.loads(os.environ.get("RDEV_EXEC_ENV") or "{}"))
    path = os.environ.get("PATH", os.defpath)
    if not found.get("stdin"):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if wrapping.prefix:  # the sandbox takes our place, and dies with whoever started us
        default_signals()
        wrapping.enter(cwd, 0)
        execute(wrapping.command(argv, {"cwd": cwd}, network=False), env, path)

    def become() -> None:
        wrapping.enter(cwd, 0)
        execute(argv, env, env["PATH"])

    sys.exit(run_below(become))


def run_below(become: Callable[[], None]) -> int:
    """Run a command and, when it or we are ended, end all it started."""
    kernel("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getpid()
    waited = {signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)

    def mortal() -> None:
        die_with(parent)
        become()

    main = spawn(mortal)
    code = -1
    while code < 0:
        if signal.sigwait(waited) != signal.SIGCHLD:
            kill(descendants(children(parent)), signal.SIGKILL)
        code = buried(main)
    while buried(0) != -2:
        kill(descendants(children(parent)), signal.SIGKILL)
        signal.sigtimedwait(waited, 0.02)
    return code


def buried(main: int) -> int:
    """Bury the dead: main's exit code when it is among them, -2 when no child is left, else -1."""
    code = -1
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return -2 if code < 0 else code
        if pid == 0:
            return code
        if pid == main:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


VERBS: dict[str, Callable[[str, str, list[str]], None]] = {
    "start": start,
    "follow": follow,
    "follow-one": follow_one,
    "send": send,
    "eof": eof,
    "stop": stop,
    "list": list_jobs,
    "gc": gc,
    "exec": run_once,
}


def main(words: list[str]) -> int:
    """Do what the command line asks; the exit code."""
    place = {"--root": "", "--wrap": ""}
    while len(words) > 1 and words[0] in place:
        place[words[0]] = os.path.abspath(words[1])
        words = words[2:]
    try:
        if not words or words[0] not in VERBS or not place["--root"]:
            raise Refusal(f"boxrun --root DIR [--wrap FILE] {'|'.join(VERBS)} …")
        VERBS[words[0]](place["--root"], place["--wrap"], words[1:])
    except BrokenPipeError:
        return 1  # nobody reads any more
    except Refusal as e:
        tell({"error": str(e)})
        return e.code
    except OSError as e:
        tell({"error": f"boxrun {words[0]}: {e}"})
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
