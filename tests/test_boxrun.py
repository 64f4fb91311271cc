"""boxrun as its callers see it: a command line, files and processes."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from boxrun_cli import BWRAP, Cli, frames, living, until

ROOT = os.geteuid() == 0
UID = 62000 + os.getpid() % 3000
"""Another user, and another for every run of the tests: its processes are counted."""
STUBBORN = """
trap "" INT TERM
(trap "" INT TERM; setsid sh -c "sleep 1000; :" & wait) &
echo up
while :; do sleep 1000; done
"""
"""Ignores what it can and has a child in a session of its own."""


def wrap_file(path: Path, **more: Any) -> Path:
    workspace = path / "workspace"
    workspace.mkdir(mode=0o700, exist_ok=True)
    if more.get("uid"):
        os.chown(workspace, more["uid"], more["uid"])
    file = path / "wrap.json"
    file.write_text(json.dumps({"prefix": BWRAP, "mounts": {"workspace": str(workspace)}, **more}))
    return file


def boxes(tmp_path: Path, kind: str, *, processes: int = 512) -> Cli:
    match kind:
        case "plain":
            (tmp_path / "workspace").mkdir()
            return Cli(tmp_path / "box", cwd=tmp_path / "workspace")
        case "wrapped":
            return Cli(tmp_path / "box", wrap_file(tmp_path))
        case _:
            limits = {"NPROC": processes, "CORE": 0}
            return Cli(tmp_path / "box", wrap_file(tmp_path, uid=UID, gid=UID, rlimits=limits))


KINDS = ["plain", "wrapped", *(["dropped"] if ROOT else [])]


@pytest.fixture(params=KINDS)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cli]:
    """A box without a fence, in bwrap, and (as root) in bwrap as another user; left with nothing running."""
    cli = boxes(tmp_path, request.param)
    yield cli
    tidy(cli)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Cli]:
    """Where the fence makes no difference."""
    cli = boxes(tmp_path, "plain")
    yield cli
    tidy(cli)


def tidy(cli: Cli) -> None:
    for line in cli.run("list").stdout.splitlines():
        cli.run("stop", json.loads(line)["job"], "--grace", "0")


# ── life ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "code", "number"), [("exit 0", 0, 0), ("exit 7", 7, 0), ("kill -9 $$", 137, 9), ("kill -15 $$", 143, 15)]
)
def test_exit_code_or_signal_is_told(box: Cli, script: str, code: int, number: int) -> None:
    began = time.time()
    assert box.start("a", "sh", "-c", f"echo out; echo err >&2; {script}")["started"]
    data, last = box.follow("a")
    assert data == b"out\nerr\n"
    record = last["exit"]
    assert (record["code"], record["signal"], record["reason"], record["size"]) == (code, number, "exited", 8)
    assert began <= record["started"] <= record["ended"] <= time.time()
    assert last["offset"] == 8


def test_job_outlives_who_started_it(plain: Cli, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"{' '.join(plain.command)} start a; kill -9 -$$"
    spec = plain.spec("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; echo done")
    subprocess.run(["setsid", "-w", "sh", "-c", script], input=spec, check=False, capture_output=True)
    go.touch()
    assert plain.follow("a")[0] == b"done\n"


def test_started_by_many_at_once_runs_once(plain: Cli) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: plain.start("a", "sh", "-c", "echo once; sleep 0.5"), range(8)))
    assert sum(answer["started"] for answer in answers) == 1
    assert {answer.get("state") for answer in answers if not answer["started"]} == {"running"}
    assert plain.follow("a")[0] == b"once\n"
    assert plain.start("a", "echo", "twice") == {"job": "a", "started": False, "state": "exited"}


def test_starter_killed_at_any_moment_leaves_nothing_astray(plain: Cli) -> None:
    """Whenever it dies: no job, or one that can be stopped, and then nothing of it lives."""
    mark = f"1000.{random.randrange(10**9)}"
    seen = set()
    for turn in range(24):
        job = f"a{turn}"
        starter = plain.popen("start", job, stdin=subprocess.PIPE)
        assert starter.stdin and starter.stdout
        starter.stdin.write(plain.spec("sleep", mark))
        starter.stdin.close()
        time.sleep(random.uniform(0.02, 0.08))
        starter.kill()
        starter.wait()
        starter.stdout.close()
        answer = plain.ask("stop", job, "--grace", "0.2")
        seen.add(answer.get("reason") or answer.get("error") or "lost")
        assert not living(mark)
    assert seen <= {"unknown", "stopped", "lost"}
    assert "stopped" in seen


def test_unfit_command_fails_with_a_sentence(plain: Cli) -> None:
    answer = plain.start("a", "no-such-program")
    assert not answer["started"]
    record = plain.follow("a")[1]["exit"]
    assert (record["code"], record["reason"]) == (127, "failed")
    assert "no-such-program" in record["message"]
    plain.cwd = "/no/such/place"
    plain.start("b", "true")
    assert "/no/such/place" in plain.follow("b")[1]["exit"]["message"]


@pytest.mark.parametrize("spec", [b"", b"{", b"[]", b"{}", b'{"argv":[]}', b'{"argv":["a\\u0000"]}', b'{"argv":[1]}'])
def test_unfit_specification_starts_nothing(plain: Cli, spec: bytes) -> None:
    done = plain.run("start", "a", data=spec)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]
    assert plain.run("list").stdout == b""


@pytest.mark.parametrize("job", ["../a", "A", "", "a" * 65, "a b", "."])
def test_unfit_job_id_is_refused(plain: Cli, job: str) -> None:
    assert "error" in plain.start(job, "true")
    assert "error" in plain.ask("stop", job)


def test_unknown_job_is_unknown(plain: Cli) -> None:
    for words in (["stop", "a"], ["eof", "a"], ["send", "a", "--length", "3"]):
        done = plain.run(*words, data=b"{}\n")
        assert (done.returncode, json.loads(done.stdout)) == (3, {"error": "unknown"})
    assert next(frames(plain.run("follow-one", "a").stdout))[0] == {"job": "a", "error": "unknown"}


def test_children_left_behind_end_with_the_job(box: Cli) -> None:
    mark = f"1000.{random.randrange(10**9)}"
    box.start("a", "sh", "-c", f"setsid sleep {mark} & (sleep {mark} &) ; env -i sleep {mark} & sleep 0.2; echo end")
    data, last = box.follow("a")
    assert (data, last["exit"]["code"]) == (b"end\n", 0)
    assert not living(mark)


def test_environment_is_what_was_asked_for_and_little_else(box: Cli) -> None:
    box.start("a", "env", env={"TOKEN": "sesame", "PATH": "/usr/bin:/bin"})
    env = dict(line.split("=", 1) for line in box.follow("a")[0].decode().splitlines())
    assert (env["TOKEN"], env["RDEV_JOB"]) == ("sesame", "a")
    assert set(env) <= {"TOKEN", "RDEV_JOB", "RDEV_BOX", "PATH", "HOME", "LANG", "TERM", "PWD"}


def test_secret_of_the_environment_is_on_no_command_line_and_in_no_file(box: Cli) -> None:
    secret = uuid.uuid4().hex
    box.start("a", "sh", "-c", "echo up; sleep 1000", env={"TOKEN": secret})
    until(lambda: box.journal("a"))
    lines = b"".join(p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.parent.exists())
    assert secret.encode() not in lines
    for file in (box.root / "jobs" / "a").iterdir():
        assert not file.is_file() or secret.encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    assert (box.root / "jobs" / "a").stat().st_mode & 0o077 == 0


# ── input ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_many_senders_arrive_whole_and_once(plain: Cli) -> None:
    plain.start("a", "cat", input="jsonl")

    def send(sender: int) -> None:
        for number in range(10):
            text = random.choice("abcdef") * 200_000
            assert plain.send("a", json.dumps({"id": [sender, number], "text": text}).encode() + b"\n") == {
                "sent": True
            }

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send, range(3)))
    plain.ask("eof", "a")
    lines = [json.loads(line) for line in plain.follow("a")[0].splitlines()]
    assert sorted(line["id"] for line in lines) == [[sender, number] for sender in range(3) for number in range(10)]
    assert all(len(set(line["text"])) == 1 and len(line["text"]) == 200_000 for line in lines)


@pytest.mark.parametrize(
    ("line", "length", "error"),
    [
        (b'{"a": 1}\n', 20, "short"),
        (b'{"a": 1}', 8, "not one line"),
        (b'{"a": 1}\n{}\n', 12, "not one line"),
        (b'{"a": 1\r}\n', 10, "not one line"),
        (b'{"a": 1\n', 8, "not a JSON object"),
        (b"[1]\n", 4, "not a JSON object"),
        (b'{"a": NaN}\n', 11, "not a JSON object"),
        (b'{"a": "\xff"}\n', 11, "not a JSON object"),
        (b"[" * 100_000 + b"\n", 100_001, "not a JSON object"),
        (b"\n", 1, "not a JSON object"),
        (b"", 0, "not one line"),
    ],
)
def test_unfit_line_is_refused_and_leaves_nothing(plain: Cli, line: bytes, length: int, error: str) -> None:
    plain.start("a", "cat", input="jsonl")
    done = plain.run("send", "a", "--length", str(length), data=line)
    assert (done.returncode, json.loads(done.stdout)) == (3, {"error": error})
    assert (plain.root / "jobs" / "a" / "in.jsonl").read_bytes() == b""


def test_torn_line_of_a_dead_sender_is_passed_over(plain: Cli) -> None:
    """What a killed sender left half-written neither reaches the job nor spoils the next line."""
    plain.start("a", "cat", input="jsonl")
    plain.send("a", b'{"n": 1}\n')
    inbox = plain.root / "jobs" / "a" / "in.jsonl"
    with inbox.open("ab") as f:
        f.write(b'{"n": 2, "torn": "xxxx')
    plain.send("a", b'{"n": 3}\n')
    with inbox.open("ab") as f:
        f.write(b'nonsense\n"text"\n\n')
    plain.send("a", b'{"n": 4}\n')
    plain.ask("eof", "a")
    data, last = plain.follow("a")
    assert data == b'{"n": 1}\n{"n": 3}\n{"n": 4}\n'
    assert last["exit"]["code"] == 0
    assert (plain.root / "jobs" / "a" / "runner.log").read_text().count("refused") == 3


def test_line_without_end_is_given_up(plain: Cli) -> None:
    plain.start("a", "cat", input="jsonl")
    with (plain.root / "jobs" / "a" / "in.jsonl").open("ab") as f:
        f.write(b'{"x": "' + b"y" * (34 << 20) + b'"}\n{"n": 1}\n')
    plain.send("a", b'{"n": 2}\n')
    plain.ask("eof", "a")
    assert plain.follow("a")[0] == b'{"n": 1}\n{"n": 2}\n'


def test_input_ends_after_what_was_sent_and_then_is_closed(box: Cli) -> None:
    box.start("a", "sh", "-c", "sleep 0.3; cat; echo end", input="jsonl")
    big = json.dumps({"text": "x" * 300_000}).encode() + b"\n"
    box.send("a", big)
    assert box.ask("eof", "a") == {"closed": True}
    assert box.send("a", b"{}\n") == {"error": "closed"}
    data, _ = box.follow("a")
    assert data == big + b"end\n"
    assert box.send("a", b"{}\n") == {"error": "closed"}


def test_job_without_input_takes_none(plain: Cli) -> None:
    plain.start("a", "cat")
    assert plain.follow("a")[1]["exit"]["code"] == 0
    plain.start("b", "sleep", "1000")
    assert plain.send("b", b"{}\n") == {"error": "closed"}


# ── stop ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stubborn_jobs_are_stopped_with_all_they_started(box: Cli) -> None:
    """Fifty in all, at once: each within 5 s, and nothing of any lives."""
    mark = uuid.uuid4().hex
    names = [f"a{n}" for n in range(-(-50 // len(KINDS)))]
    for job in names:
        box.start(job, "sh", "-c", STUBBORN, env={"MARK": mark}, input="jsonl")
    until(lambda: all(box.journal(job) == b"up\n" for job in names))
    assert len(living(mark)) >= 3 * len(names)

    def stop(job: str) -> float:
        began = time.monotonic()
        record = box.ask("stop", job)
        assert (record["reason"], record["code"]) == ("stopped", 137)
        return time.monotonic() - began

    with ThreadPoolExecutor(len(names)) as pool:
        slowest = max(pool.map(stop, names))
    assert not living(mark)
    assert slowest < 5


FORKING = """
import os, time
for _ in range(7):
    if os.fork() == 0:
        os.setsid()
    time.sleep(0.01)
time.sleep(1000)
"""


def test_many_sessions_of_one_job_are_stopped(plain: Cli) -> None:
    mark = uuid.uuid4().hex
    plain.start("a", sys.executable, "-S", "-c", FORKING, env={"MARK": mark})
    until(lambda: len(living(mark)) > 20)
    plain.ask("stop", "a", "--grace", "0.1")
    assert not living(mark)


def test_gentle_job_ends_by_its_own_trap(box: Cli) -> None:
    box.start("a", "sh", "-c", 'trap "echo bye; exit 4" INT; echo up; while :; do sleep 0.05; done')
    until(lambda: box.journal("a") == b"up\n")
    began = time.monotonic()
    record = box.ask("stop", "a", "--grace", "10")
    assert (record["code"], record["reason"]) == (4, "stopped")
    assert box.journal("a") == b"up\nbye\n"
    assert time.monotonic() - began < 5


def test_interrupt_comes_before_lines_that_wait_and_is_the_last(box: Cli, tmp_path: Path) -> None:
    """The line in progress is finished, the interrupt follows, the rest is dropped, and the input ends."""
    script = (
        "import os, sys, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nsys.stdout.write(sys.stdin.read())"
    )
    box.start("a", "/usr/bin/python3", "-S", "-c", script, input="jsonl")
    lines = [json.dumps({"n": n, "text": "x" * 100_000}).encode() + b"\n" for n in range(3)]
    for line in lines:
        box.send("a", line)
    interrupt = b'{"interrupt": true}\n'
    with stopped(box, "a"), ThreadPoolExecutor(1) as pool:
        words = ("stop", "a", "--interrupt-length", str(len(interrupt)), "--grace", "5")
        stopping = pool.submit(box.ask, *words, data=interrupt)
        until((request := box.root / "jobs" / "a" / "stop").exists)
        os.kill(box.runner("a"), signal.SIGCONT)
        until(lambda: not request.exists())
        (tmp_path / "workspace" / "go").touch()
        record = stopping.result()
    assert (record["code"], record["reason"]) == (0, "stopped")
    assert box.journal("a") == lines[0] + interrupt


@contextmanager
def stopped(box: Cli, job: str) -> Iterator[None]:
    """Its runner hangs, for a while at least."""
    runner = box.runner(job)
    os.kill(runner, signal.SIGSTOP)
    yield
    with suppress(ProcessLookupError):
        os.kill(runner, signal.SIGCONT)


def test_job_of_a_hanging_runner_is_stopped_all_the_same(box: Cli) -> None:
    mark = uuid.uuid4().hex
    box.start("a", "sh", "-c", STUBBORN, env={"MARK": mark})
    until(lambda: box.journal("a"))
    with stopped(box, "a"):
        began = time.monotonic()
        assert box.ask("stop", "a", "--grace", "0.2") == {"lost": True}
    assert time.monotonic() - began < 5
    assert not living(mark)


def test_job_that_never_reads_is_stopped_in_time(box: Cli) -> None:
    box.start("a", "sh", "-c", 'trap "" INT; echo up; sleep 1000', input="jsonl")
    until(lambda: box.journal("a"))
    for _ in range(5):
        box.send("a", json.dumps({"text": "x" * 500_000}).encode() + b"\n")
    began = time.monotonic()
    record = box.ask("stop", "a", "--interrupt-length", "3", data=b"{}\n")
    assert record["reason"] == "stopped"
    assert time.monotonic() - began < 5


def test_second_stop_hurries_the_first(plain: Cli) -> None:
    plain.start("a", "sh", "-c", STUBBORN)
    until(lambda: plain.journal("a"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(plain.ask, "stop", "a", "--grace", "100")
        time.sleep(0.3)
        began = time.monotonic()
        second = plain.ask("stop", "a", "--grace", "0.1")
        assert first.result() == second
    assert time.monotonic() - began < 2
    assert plain.ask("stop", "a") == second


def test_time_limit_ends_the_job(box: Cli) -> None:
    box.start("a", "sleep", "1000", limits={"seconds": 0.3})
    record = box.follow("a")[1]["exit"]
    assert record["reason"] == "timeout"
    assert "0.3 seconds" in record["message"]
    assert 0.3 <= record["ended"] - record["started"] < 3


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_full_journal_ends_the_job(box: Cli, stream: str) -> None:
    """Of stdout and of stderr, wherever it goes; even of a job that will not go."""
    script = f'trap "" INT TERM; while :; do echo 0123456789; done {stream}'
    box.start("a", "sh", "-c", script, limits={"journal_bytes": 1 << 20}, stderr="file")
    record = box.follow("a")[1]["exit"]
    assert record["reason"] == "journal_full"
    assert "1 MiB" in record["message"]
    size = sum((box.root / "jobs" / "a" / name).stat().st_size for name in ("out", "err"))
    assert 1 << 20 <= size < 64 << 20


def test_job_near_its_cap_is_left_alone(plain: Cli) -> None:
    plain.start(
        "a", "sh", "-c", "head -c 1000 /dev/zero; sleep 0.2; head -c 23 /dev/zero", limits={"journal_bytes": 1024}
    )
    assert plain.follow("a")[1]["exit"]["reason"] == "exited"


def test_terminated_runner_stops_its_job(box: Cli) -> None:
    mark = uuid.uuid4().hex
    box.start("a", "sleep", "1000", env={"MARK": mark})
    os.kill(box.runner("a"), signal.SIGTERM)
    assert box.follow("a")[1]["exit"]["reason"] == "stopped"
    assert not living(mark)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small volume of its own."""
    path = tmp_path / "volume"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a volume can be mounted by root alone")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_volume_keeps_no_job_from_being_stopped_or_its_end_from_being_told(volume: Path) -> None:
    box = Cli(volume / "box", cwd=volume)
    ballast = volume / "ballast"
    for job in ("a", "b"):
        box.start(job, "sh", "-c", "echo up; cat; echo end; exit 3", input="jsonl")
        until(lambda job=job: box.journal(job) == b"up\n")  # type: ignore[misc]
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1k"], check=False, capture_output=True)
    assert "error" in box.send("a", json.dumps({"text": "x" * 9000}).encode() + b"\n")
    assert "error" in box.start("c", "true"), "nothing half-started"
    with ThreadPoolExecutor(2) as pool:
        stopping = pool.submit(box.ask, "stop", "a", "--grace", "1")
        following = pool.submit(box.follow, "b")
        os.kill(box.runner("b"), signal.SIGTERM)
        time.sleep(0.5)
        ballast.unlink()
        assert stopping.result()["reason"] == "stopped"
        assert following.result()[1]["exit"]["reason"] == "stopped"
    assert sorted(json.loads(line)["job"] for line in box.run("list").stdout.splitlines()) == ["a", "b"]


# ── loss ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_killed_runner_means_lost_and_nothing_lives(box: Cli) -> None:
    mark = uuid.uuid4().hex
    box.start("a", "sh", "-c", STUBBORN, env={"MARK": mark})
    until(lambda: box.journal("a"))
    follower = box.popen("follow-one", "a")
    assert follower.stdout
    assert json.loads(follower.stdout.readline())["length"] == 3
    assert follower.stdout.read(3) == b"up\n"
    began = time.monotonic()
    os.kill(box.runner("a"), signal.SIGKILL)
    assert json.loads(follower.stdout.readline()) == {"job": "a", "lost": True, "offset": 3}
    assert time.monotonic() - began < 1
    assert follower.wait() == 0
    follower.stdout.close()
    if box.wrapped:  # the fence falls with the runner; without one, the next stop or gc finds them
        until(lambda: not living(mark), 1)
    assert json.loads(box.run("list").stdout)["state"] == "lost"
    assert box.send("a", b"{}\n") == {"error": "closed"}
    assert box.start("a", "true") == {"job": "a", "started": False, "state": "lost"}
    assert box.ask("stop", "a") == {"lost": True}
    assert not living(mark)
    assert box.ask("gc", "a") == {"job": "a", "removed": True}


def test_removal_kills_what_a_lost_job_left(plain: Cli) -> None:
    mark = uuid.uuid4().hex
    plain.start("a", "sh", "-c", STUBBORN, env={"MARK": mark})
    until(lambda: plain.journal("a"))
    os.kill(plain.runner("a"), signal.SIGKILL)
    until(lambda: json.loads(plain.run("list").stdout)["state"] == "lost")
    assert living(mark)
    assert plain.ask("gc", "a")["removed"]
    assert not living(mark)


def test_lost_job_of_one_box_is_not_mistaken_for_another_boxs(plain: Cli, tmp_path: Path) -> None:
    """Two boxes with a job of the same id: only the dead one's processes are killed."""
    other = Cli(tmp_path / "other", cwd=tmp_path)
    mine, others = uuid.uuid4().hex, uuid.uuid4().hex
    plain.start("a", "sh", "-c", STUBBORN, env={"MARK": mine})
    other.start("a", "sleep", "1000", env={"MARK": others})
    until(lambda: plain.journal("a"))
    os.kill(plain.runner("a"), signal.SIGKILL)
    assert plain.ask("stop", "a") == {"lost": True}
    assert not living(mine)
    assert living(others)
    assert other.ask("stop", "a", "--grace", "0")["reason"] == "stopped"


def test_removal_refuses_a_running_job_and_takes_an_ended_one(plain: Cli) -> None:
    plain.start("a", "sleep", "1000")
    plain.start("b", "true")
    plain.follow("b")
    answers = [json.loads(line) for line in plain.run("gc", "a", "b", "c").stdout.splitlines()]
    assert [(answer["job"], answer["removed"]) for answer in answers] == [("a", False), ("b", True), ("c", False)]
    assert [path.name for path in (plain.root / "jobs").iterdir()] == ["a"]
    assert plain.start("b", "true")["started"], "its id is free again"


def test_list_tells_what_there_is(plain: Cli) -> None:
    plain.start("run", "sh", "-c", "echo x; sleep 1000")
    plain.start("end", "sh", "-c", "echo xx; exit 3")
    plain.follow("end")
    until(lambda: plain.journal("run"))
    end, run = (json.loads(line) for line in plain.run("list").stdout.splitlines())
    assert (end["job"], end["state"], end["size"], end["exit"]["code"]) == ("end", "exited", 3, 3)
    assert (run["job"], run["state"], run["size"], run["exit"]) == ("run", "running", 2, None)


# ── follow ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CHATTY = """
import os, random, time
random.seed(1)
for n in range(400):
    os.write(1, os.urandom(random.choice([1, 10, 1000, 70000])))
    if n % 20 == 0: time.sleep(0.02)
"""


def test_output_of_any_bytes_is_told_as_it_is(box: Cli) -> None:
    box.start("a", "/usr/bin/python3", "-c", "import os; os.write(1, bytes(range(256)) * 3000)")
    data, last = box.follow("a")
    assert data == bytes(range(256)) * 3000
    assert last["offset"] == len(data)


def test_followers_at_once_each_get_exactly_the_journal(plain: Cli) -> None:
    plain.start("a", sys.executable, "-S", "-c", CHATTY)
    with ThreadPoolExecutor(4) as pool:
        followers = [pool.submit(plain.follow, "a", offset) for offset in (0, 0, 1, 5000)]
        told = [follower.result() for follower in followers]
    journal = plain.journal("a")
    assert len(journal) > 1_000_000
    assert [data for data, _ in told] == [journal, journal, journal[1:], journal[5000:]]
    assert all(last["offset"] == len(journal) and last["exit"]["code"] == 0 for _, last in told)


def test_killed_follower_resumes_without_loss_or_doubles(plain: Cli) -> None:
    plain.start("a", sys.executable, "-S", "-c", CHATTY)
    data, ended, kills = b"", False, 0
    while not ended:
        follower = plain.popen("follow-one", "a", "--offset", str(len(data)))
        assert follower.stdout
        timer = threading.Timer(random.uniform(0.03, 0.15), follower.kill)
        timer.start()
        while header := follower.stdout.readline():
            if not header.endswith(b"\n"):
                break
            frame = json.loads(header)
            ended |= "exit" in frame
            if "length" in frame:
                assert frame["offset"] == len(data)
                data += follower.stdout.read(frame["length"])
        timer.cancel()
        follower.wait()
        follower.stdout.close()
        kills += 1
    assert kills > 1
    assert data == plain.journal("a")


def test_one_stream_tells_of_many_jobs(plain: Cli) -> None:
    """Added while it runs; one that is not there, one dropped, one whose reader knows it all already."""
    names = [f"a{n}" for n in range(30)]
    stream = plain.popen("follow", stdin=subprocess.PIPE)
    assert stream.stdin and stream.stdout
    for n, job in enumerate(names):
        plain.start(job, "sh", "-c", f"for i in 1 2 3; do echo {n} $i; sleep 0.1; done; exit {n}")
        stream.stdin.write(json.dumps({"follow": job, "offset": 0}).encode() + b"\n")
        stream.stdin.flush()
    plain.start("dropped", "sleep", "1000")
    stream.stdin.write(
        b'{"follow":"nowhere","offset":0}\n{"follow":"dropped"}\n{"follow":"a0","offset":4}\n{"unfollow":"dropped"}\n'
    )
    output, _ = stream.communicate(timeout=30)
    told: dict[str, bytes] = {}
    ends = {}
    for header, payload in frames(output):
        told[header["job"]] = told.get(header["job"], b"") + payload
        if "length" not in header:
            ends[header["job"]] = header.get("exit", header)
    assert ends.pop("nowhere") == {"job": "nowhere", "error": "unknown"}
    assert {job: end["code"] for job, end in ends.items()} == {f"a{n}": n for n in range(30)}
    assert all(told[f"a{n}"] == f"{n} 1\n{n} 2\n{n} 3\n".encode() for n in range(1, 30))
    assert "dropped" not in told


def test_output_is_told_at_once(plain: Cli) -> None:
    """Between the job's write and the frame in the reader's hands: less than 50 ms, where most is the shell's."""
    plain.start("a", "cat", input="jsonl")
    follower = plain.popen("follow-one", "a")
    assert follower.stdout
    delays = []
    for n in range(5):
        with (plain.root / "jobs" / "a" / "out").open("ab") as f:
            time.sleep(0.1)
            began = time.monotonic()
            f.write(b"%d" % n)
        follower.stdout.readline()
        assert follower.stdout.read(1) == b"%d" % n
        delays.append(time.monotonic() - began)
    assert sorted(delays)[2] < 0.05
    follower.kill()
    follower.wait()
    follower.stdout.close()


def test_reader_that_does_not_read_costs_no_memory_and_delays_no_other(plain: Cli) -> None:
    plain.start("a", "sh", "-c", "head -c 50000000 /dev/zero")
    lazy = plain.popen("follow-one", "a")
    data, _ = plain.follow("a")
    assert len(data) == 50_000_000
    status = Path(f"/proc/{lazy.pid}/status").read_text()
    assert lazy.poll() is None, "it waits"
    assert int(status.split("VmHWM:")[1].split()[0]) < 32_000
    output, _ = lazy.communicate()
    assert sum(len(payload) for _, payload in frames(output)) == 50_000_000


def test_follower_ends_when_nobody_reads(plain: Cli) -> None:
    plain.start("a", "sleep", "1000")
    follower = plain.popen("follow", stdin=subprocess.PIPE)
    assert follower.stdin and follower.stdout
    follower.stdin.write(b'{"follow":"a"}\n')
    follower.stdin.flush()
    follower.stdout.close()
    assert follower.wait(5) == 1
    follower.stdin.close()


def test_journal_that_its_job_cut_short_harms_nobody(plain: Cli) -> None:
    """A job may truncate its own stdout; who follows it waits and is told the end."""
    plain.start("a", sys.executable, "-S", "-c", "import os; os.write(1, b'x' * 100); os.ftruncate(1, 10)")
    data, last = plain.follow("a", 50)
    assert data in (b"", b"x" * 50)
    assert last["exit"]["code"] == 0


# ── the fence ─────────────────────────────────────────────────────────────────────────────────────────────────────────


MANY = """
import os, time
open("file", "w").close()
children = 0
try:
    while children < 200:
        if os.fork() == 0:
            time.sleep(1000)
        children += 1
except OSError:
    print(children, os.getuid(), flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(not ROOT, reason="another user is taken on by root alone")
def test_sandboxed_job_is_another_user_and_its_limits_bite(tmp_path: Path) -> None:
    box = boxes(tmp_path, "dropped", processes=64)
    mark = uuid.uuid4().hex
    box.start("a", "/usr/bin/python3", "-S", "-c", MANY, env={"MARK": mark})
    until(lambda: box.journal("a"))
    children, uid = map(int, box.journal("a").split())
    assert 40 < children < 64
    assert uid == UID
    alive = living(mark)
    assert len(alive) > children
    for pid in alive:
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in status
        assert "Groups:\t \n" in status
        assert "CapEff:\t0000000000000000\n" in status
    assert (tmp_path / "workspace" / "file").stat().st_uid == UID
    box.ask("stop", "a", "--grace", "0.2")
    assert not living(mark)


CGROUPS = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]


@pytest.mark.skipif(not CGROUPS or not ROOT, reason="no cgroup v2 to write to")
def test_sandboxed_job_is_in_its_cgroup(tmp_path: Path) -> None:
    group = Path(CGROUPS[0]) / f"rdev-test-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        box = Cli(tmp_path / "box", wrap_file(tmp_path, cgroup=str(group)))
        mark = f"1000.{random.randrange(10**9)}"
        box.start("a", "sh", "-c", f"sleep {mark} & sleep {mark}")
        until(lambda: len(living(f"sleep\0{mark}")) == 2)
        members = {int(line) for line in (group / "cgroup.procs").read_text().split()}
        assert members >= set(living(f"sleep\0{mark}"))
        assert box.runner("a") not in members, "what is killed for its memory must not be the runner"
        assert box.ask("stop", "a", "--grace", "0")["reason"] == "stopped"
    finally:
        group.rmdir()


def bridged(path: Path, port: int) -> Cli:
    """A box whose network is one socket to a port of this machine."""
    inner = (
        "socat TCP-LISTEN:3128,fork,reuseaddr,bind=127.0.0.1 UNIX-CONNECT:/run/rdev/proxy.sock & "
        'until (exec 3<>/dev/tcp/127.0.0.1/3128) 2>/dev/null; do sleep 0.01; done; exec "$@"'
    )
    more = {
        "bridges": [["socat", "UNIX-LISTEN:{run}/proxy.sock,fork,mode=666", f"TCP4:127.0.0.1:{port},bind={{address}}"]],
        "sockets": ["proxy.sock"],
        "network_prefix": ["--ro-bind", "{run}", "/run/rdev"],
        "inner": ["bash", "-c", inner, "bash"],
        "address": "127.64.9.{slot}",
    }
    user = {"uid": UID, "gid": UID} if ROOT else {}
    deep = path / ("deep" * 20)  # longer than a socket's path may be
    deep.mkdir()
    return Cli(deep / "box", wrap_file(path, **more, **user))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        yield listening


def callers(server: socket.socket) -> Iterator[str]:
    """Who calls, by address; each is told so."""
    while True:
        connection, (address, _) = server.accept()
        with connection:
            connection.sendall(f"you are {address}\n".encode())
        yield address


def test_job_with_a_slot_reaches_the_bridge_from_its_own_address(tmp_path: Path, server: socket.socket) -> None:
    box = bridged(tmp_path, server.getsockname()[1])
    box.start("a", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3128; cat <&3", slot=7)
    calls = callers(server)
    assert [next(calls), next(calls)] == ["127.64.9.7"] * 2
    data, last = box.follow("a")
    assert data == b"you are 127.64.9.7\n"
    assert last["exit"]["code"] == 0
    assert not living("bind=127.64.9.7"), "the bridges have ended too"
    assert not (box.root / "jobs" / "a" / "run").exists()


def test_bridges_die_with_a_killed_runner(tmp_path: Path, server: socket.socket) -> None:
    port = server.getsockname()[1]
    box = bridged(tmp_path, port)
    box.start("a", "sleep", "1000", slot=7)
    next(callers(server))
    assert living(f"TCP4:127.0.0.1:{port}")
    os.kill(box.runner("a"), signal.SIGKILL)
    until(lambda: not living(f"TCP4:127.0.0.1:{port}"), 2)


def test_job_without_a_slot_has_no_network(tmp_path: Path, server: socket.socket) -> None:
    port = server.getsockname()[1]
    box = bridged(tmp_path, port)
    box.start("a", "bash", "-c", "ls /run/rdev; exec 3<>/dev/tcp/127.0.0.1/3128")
    assert box.follow("a")[1]["exit"]["code"] != 0
    assert not living(f"TCP4:127.0.0.1:{port}")


def test_broken_bridge_fails_the_start_with_its_reason(tmp_path: Path, server: socket.socket) -> None:
    box = bridged(tmp_path, server.getsockname()[1])
    wrap = Path(box.command[-1])
    conf = json.loads(wrap.read_text())
    wrap.write_text(json.dumps({**conf, "bridges": [["socat", "UNIX-LISTEN:/no/such/place.sock", "STDIO"]]}))
    answer = box.start("a", "true", slot=7)
    assert not answer["started"]
    record = box.follow("a")[1]["exit"]
    assert record["reason"] == "failed"
    assert "/no/such/place.sock" in record["message"]


# ── exec ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_command_runs_in_the_foreground(box: Cli) -> None:
    done = box.run(
        "exec", "--cwd", box.cwd, "--stdin", "--", "sh", "-c", "cat; echo err >&2; pwd; exit 5", data=b"in\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, f"in\n{box.cwd}\n".encode(), b"err\n")


def test_command_sees_a_small_environment(box: Cli) -> None:
    command = [*box.command, "exec", "--", "env"]
    env = {**os.environ, "SECRET": "x", "RDEV_EXEC_ENV": json.dumps({"GIVEN": "1"})}
    output = subprocess.run(command, env=env, capture_output=True, check=True).stdout.decode()
    seen = dict(line.split("=", 1) for line in output.splitlines())
    assert seen["GIVEN"] == "1"
    assert set(seen) <= {"GIVEN", "PATH", "HOME", "LANG", "TERM", "PWD"}


def test_killed_command_leaves_nothing_behind(box: Cli) -> None:
    mark = f"1000.{random.randrange(10**9)}"
    command = box.popen("exec", "--", "sh", "-c", f"setsid sleep {mark} & sleep {mark} & echo up; wait")
    assert command.stdout
    assert command.stdout.readline() == b"up\n"
    command.send_signal(signal.SIGKILL if box.wrapped else signal.SIGTERM)
    command.wait(5)
    command.stdout.close()
    until(lambda: not living(mark), 1)


def test_command_that_is_not_there_says_so(plain: Cli) -> None:
    done = plain.run("exec", "--", "no-such-program")
    assert done.returncode != 0
    assert b"no-such-program" in done.stdout + done.stderr
