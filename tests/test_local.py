"""The local backend as the service uses it: boxes come up proved, squid stays up, and what is over is gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from boxing import KEY, Upstream, backend, box, ended, first_denials, run, said, upstream

from executor.backend import BoxState, Container, Denial, Limits
from executor.boxes import FIRST_UID, LAST_UID, first_uid
from executor.durable import Boxrun, Spec
from executor.errors import BoxFailed, ExecutorError
from executor.host import mend
from executor.local import LocalBackend
from executor.pids import start_time, with_words
from executor.runtime import Runtime
from executor.squid_launch import find, is_free

TRY = "curl -s -o /dev/null -w '%{{http_code}}' http://allowed.example.org:{port}/"


def instance(state: Path) -> dict[str, int]:
    """What is written down of the backend's squid."""
    return dict(json.loads((state / "squid.json").read_text()))


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for something that another process brings about."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  # no event of this process
            await asyncio.sleep(0.05)


async def status(boxes: LocalBackend, server: Upstream, slot: int = 7) -> str:
    """What a job gets when it asks for the allowed host."""
    return (await run(boxes, "demo", ["sh", "-c", TRY.format(port=server.port)], slot=slot)).output


# bringing up


async def test_box_comes_up_proved_and_stays_so(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        assert (await boxes.status())["demo"].state is BoxState.RUNNING
        jobs = await Boxrun(boxes, "demo").list()
        began = time.perf_counter()
        await boxes.start(box())
        assert time.perf_counter() - began < 0.01
        assert await Boxrun(boxes, "demo").list() == jobs == []  # the self-test left nothing, and ran once
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


LEAKY = """#!/usr/bin/python3
import os, sys
words = sys.argv[1:]
{edit}
os.execvp("bwrap", ["bwrap", *words])
"""


@contextlib.contextmanager
def program(text: str) -> Iterator[Path]:
    """A program that the box's user may run too, which is why it is not below a 0700 directory."""
    directory = Path(tempfile.mkdtemp(prefix="rdev-test-"))
    directory.chmod(0o755)
    path = directory / "program"
    path.write_text(text)
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(directory)


async def test_sandbox_with_the_machines_network_is_refused(tmp_path: Path) -> None:
    """The self-test looks for a route only: no packet leaves."""
    if not (is_free(3128) and is_free(8318)):
        pytest.skip("someone listens where the box's own ends would be")
    edit = """
if "--unshare-all" in words:
    here = words.index("--unshare-all")
    words[here : here + 1] = ["--unshare-pid", "--unshare-uts", "--unshare-ipc"]
"""
    with program(LEAKY.format(edit=edit)) as bwrap:
        async with backend(tmp_path / "s", bwrap=str(bwrap)) as boxes:
            with pytest.raises(BoxFailed, match=r"not tight.*port .* of the machine itself is in reach") as told:
                await boxes.start(box())
            assert (await boxes.status())["demo"].state is BoxState.FAILED
            assert (await boxes.status())["demo"].reason == str(told.value)


async def test_sandbox_without_its_system_call_filter_is_refused(tmp_path: Path) -> None:
    edit = 'words[:2] = [] if words[:2] == ["--seccomp", "9"] else words[:2]'
    with program(LEAKY.format(edit=edit)) as bwrap:
        async with backend(tmp_path / "s", bwrap=str(bwrap)) as boxes:
            with pytest.raises(BoxFailed, match=r"not tight.*Seccomp: 0"):
                await boxes.start(box())


OPEN_SQUID = """#!/bin/sh
case "$*" in *parse* | -v) exec {squid} "$@" ;; esac
conf=$5 open=${{5%/*}}/log/open.conf
sed -e '/^http_access deny !listed/d' -e '/^http_access deny ip_literal/d' "$conf" >"$open"
exec {squid} -N -n "$3" -f "$open"
"""


async def test_squid_that_lets_everything_through_is_found_out(tmp_path: Path) -> None:
    with program(OPEN_SQUID.format(squid=find("squid"))) as squid:
        async with backend(tmp_path / "s", squid=str(squid)) as boxes:
            with pytest.raises(BoxFailed, match=r"squid answered .* where it must refuse"):
                await boxes.start(box())


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [({"bwrap": "/nonexistent/bwrap"}, "bubblewrap"), ({"squid": "/nonexistent/squid"}, "squid")],
)
async def test_missing_program_is_named_with_the_command_that_installs_it(
    tmp_path: Path, missing: dict[str, str], sentence: str
) -> None:
    async with backend(tmp_path / "s", **missing) as boxes:
        with pytest.raises(BoxFailed, match=f"apt-get install .*{sentence}"):
            await boxes.start(box())


async def test_bubblewrap_that_may_not_make_namespaces_is_told_with_its_own_words(tmp_path: Path) -> None:
    words = "bwrap: No permissions to create new namespace"
    forbidden = f'#!/bin/sh\n[ "$1" = --help ] && exec bwrap --help\necho "{words}" >&2\nexit 1\n'
    with program(forbidden) as bwrap:
        async with backend(tmp_path / "s", bwrap=str(bwrap)) as boxes:
            with pytest.raises(BoxFailed, match="No permissions to create new namespace"):
                await boxes.start(box())


def test_command_that_allows_user_namespaces_is_named(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "max_user_namespaces").write_text("0\n")
    assert mend(tmp_path) == " Allow user namespaces: sysctl -w user.max_user_namespaces=15000"
    (tmp_path / "user" / "max_user_namespaces").write_text("100\n")
    assert mend(tmp_path) == ""


async def test_wrong_domain_fails_the_box_with_a_sentence(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        with pytest.raises(BoxFailed, match="give the host a name"):
            await boxes.start(box("demo", "10.0.0.1"))


async def test_unusable_model_url_fails_the_box_with_a_sentence(tmp_path: Path) -> None:
    async with backend(tmp_path / "s", model_url="https://a.example/with/path") as boxes:
        with pytest.raises(BoxFailed, match="URL must be"):
            await boxes.start(box())


async def test_plain_squid_is_refused_for_a_model_that_needs_a_certificate_checked(tmp_path: Path) -> None:
    plain = "#!/bin/sh\necho 'Squid Cache: Version 5.7'; echo \"configure options: '--with-gnutls'\"\n"
    with program(plain) as squid:
        async with backend(tmp_path / "s", squid=str(squid), model_url="https://127.0.0.1:9") as boxes:
            with pytest.raises(BoxFailed, match=r"apt-get install .*squid-openssl"):
                await boxes.start(box())


async def test_what_is_enforced_is_told(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        told = await boxes.capabilities()
    assert any(line.startswith("memory") for line in told)
    assert any("nested user namespaces: refused" in line for line in told)


# commands


async def test_command_in_the_box_gets_bytes_and_tells_how_it_ended(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        assert await said(boxes, "demo", ["sh", "-c", "cat; exit 7"], data=b"x" * 300_000) == (7, "x" * 300_000)
        assert await said(boxes, "demo", ["sh", "-c", "id -un; pwd; hostname"]) == (0, "agent\n/workspace\ndemo\n")
        async with boxes.exec("demo", ["sh", "-c", "yes error | head -c 100000 >&2; kill -9 $$"]) as process:
            assert await process.wait() == 137
            assert len(process.stderr()) == 16384


async def test_leaving_a_command_kills_all_of_it(tmp_path: Path) -> None:
    mark = f"6{os.getpid()}"
    for container in (Container.AGENT, Container.GIT):
        async with backend(tmp_path / container) as boxes:
            await boxes.start(box())
            script = f"sleep {mark} & sleep {mark} & echo up; wait"
            async with boxes.exec("demo", ["sh", "-c", script], container=container) as process:
                assert await process.read() == b"up\n"

                async def both() -> bool:
                    return len(sleepers(mark)) == 2

                await until(both)

            async def none() -> bool:
                return not sleepers(mark)

            await until(none)


def sleepers(mark: str) -> list[int]:
    """The processes that sleep for that number of seconds."""
    return list(with_words(mark))


async def test_large_output_waits_for_its_reader(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        async with boxes.exec("demo", ["head", "-c", "50000000", "/dev/zero"]) as process:
            await asyncio.sleep(0.3)
            size = 0
            while part := await process.read(1 << 20):
                size += len(part)
            assert size == 50_000_000


async def test_git_sees_nothing_of_the_services_environment(tmp_path: Path) -> None:
    os.environ["RDEV_TEST_CANARY"] = "seen"
    try:
        async with backend(tmp_path / "s") as boxes:
            key, hosts = tmp_path / "deploy key", tmp_path / "known"
            await boxes.start(box(deploy_key=key, known_hosts=hosts))
            code, output = await said(boxes, "demo", ["sh", "-c", "env; pwd; ls -A $HOME"], Container.GIT)
    finally:
        del os.environ["RDEV_TEST_CANARY"]
    env = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    ssh = shlex.split(env.pop("GIT_SSH_COMMAND"))
    assert ssh[-2:] == ["-i", str(key)]
    assert {"IdentitiesOnly=yes", "BatchMode=yes", f"UserKnownHostsFile={hosts}", "StrictHostKeyChecking=yes"} <= set(
        ssh
    )
    assert set(env) <= {
        "PATH",
        "HOME",
        "LANG",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_TERMINAL_PROMPT",
        "PWD",
    } | {
        *("OLDPWD", "_", "SHLVL"),
    }
    assert output.splitlines()[-1] == str((tmp_path / "s/boxes/demo/git").resolve())
    assert code == 0


async def test_without_a_deploy_key_ssh_offers_none(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        _, output = await said(boxes, "demo", ["sh", "-c", "echo $GIT_SSH_COMMAND"], Container.GIT)
    assert "IdentityFile=none" in output
    assert " -i " not in output


async def test_keys_place_is_known_after_a_restart_before_the_box_is_started_again(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box(deploy_key=tmp_path / "key"))
    async with backend(tmp_path / "s") as boxes:
        _, output = await said(boxes, "demo", ["sh", "-c", "echo $GIT_SSH_COMMAND"], Container.GIT)
    assert f"-i {tmp_path / 'key'}" in output


async def test_unknown_box_and_unknown_program_are_told_apart(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        with pytest.raises(BoxFailed, match="start it first"):
            await said(boxes, "demo", ["true"])
        await boxes.start(box())
        with pytest.raises(ExecutorError, match="no-such-program could not be started"):
            await said(boxes, "demo", ["no-such-program"], Container.GIT)


# limits


async def test_jobs_processes_files_and_memory_are_limited(tmp_path: Path) -> None:
    limits = Limits(processes=40, file_bytes=1 << 20, memory_bytes=2 << 30)
    forks = """
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0:
            time.sleep(60)
        n += 1
except OSError as e:
    print(n, e)
"""
    memory = "x = bytearray(3 << 30)"
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box(limits=limits))
        forked = await run(boxes, "demo", ["python3", "-c", forks])
        count, _, reason = forked.output.strip().partition(" ")
        assert reason == "[Errno 11] Resource temporarily unavailable"
        assert 20 < int(count) < 40
        written = await run(boxes, "demo", ["sh", "-c", "head -c 2000000 /dev/zero > big; stat -c %s big"])
        assert written.lines[-1] == str(1 << 20)
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return  # a cgroup kills where the limit of a process would refuse
        assert "MemoryError" in (await run(boxes, "demo", ["python3", "-c", memory])).output


# the way out


async def test_grant_counts_at_once_and_for_its_slot_alone(tmp_path: Path) -> None:
    async with upstream() as server, backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        loop = f"while read -r _; do {TRY.format(port=server.port)}; echo; done"
        boxrun = Boxrun(boxes, "demo")
        await boxrun.start("asker", Spec(["sh", "-c", loop], {}, "/workspace", input="jsonl", slot=7))

        async def answer() -> str:
            size = (await boxrun.list())[0].size
            await boxrun.send("asker", b"{}\n")

            async def more() -> bool:
                return (await boxrun.list())[0].size > size + 3

            await until(more)
            return (tmp_path / "s/boxes/demo/jobs/asker/out").read_text()[-4:-1]

        assert await answer() == "403"
        await boxes.allow("demo", 7, [f"allowed.example.org:{server.port}"])
        assert await answer() == "200"
        assert await status(boxes, server, slot=8) == "403"
        await boxes.allow("demo", 7, [])
        assert await answer() == "403"
        await boxes.allow("demo", 0, [f".example.org:{server.port}"])
        assert await answer() == "200"
        with pytest.raises(ExecutorError, match="is no domain"):
            await boxes.allow("demo", 7, ["*"])
        await boxes.stop("demo")


async def test_denials_name_the_slot_and_repeats_are_counted(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        reading = asyncio.create_task(first_denials(boxes, 3))
        script = "for n in 1 2 3 4 5; do curl -s https://a.example.org; done; curl -s http://b.example.org:81 >x"
        await run(boxes, "demo", ["sh", "-c", script], slot=9)
        found = await reading
    assert found[:2] == [Denial("demo", 9, "a.example.org", 443), Denial("demo", 9, "b.example.org", 81)]
    assert found[2] == Denial("demo", 9, "a.example.org", 443, count=4)


async def test_denials_from_while_nobody_read_are_told_once(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        await run(boxes, "demo", ["curl", "-s", "http://early.example.org"], slot=3)
        assert await first_denials(boxes, 1) == [Denial("demo", 3, "early.example.org", 80)]
        await run(boxes, "demo", ["curl", "-s", "http://late.example.org"], slot=3)
        assert await first_denials(boxes, 1) == [Denial("demo", 3, "late.example.org", 80)]


async def test_model_gets_the_real_key_and_the_box_its_words_as_they_come(tmp_path: Path) -> None:
    pieces = tuple(b"data: %d\n\n" % n for n in range(4))
    async with (
        upstream(pieces=pieces, pause=0.3) as model,
        backend(tmp_path / "s", model_url=f"http://127.0.0.1:{model.port}") as boxes,
    ):
        await boxes.start(box())
        script = (
            'curl -sN --noproxy "*" -H "X-Api-Key: dummy" -H "Authorization: Bearer dummy" -H "Cookie: c=1" -d {} '
            '$ANTHROPIC_BASE_URL/v1/messages | while read -r line; do [ -z "$line" ] || date +%s%N; done'
        )
        outcome = await run(boxes, "demo", ["sh", "-c", script])
    head = model.received[-1]
    assert f"x-api-key: {KEY}\r\n".lower().encode() in head.lower()
    assert b"dummy" not in head
    assert b"cookie" not in head.lower()
    for added in (b"via:", b"x-forwarded-for", b"surrogate", b"cache-control"):
        assert added not in head.lower()
    times = [int(line) / 1e9 for line in outcome.lines]
    assert len(times) == 4
    assert all(later - earlier > 0.15 for earlier, later in itertools.pairwise(times))


def certificate(directory: Path, name: str, *, signed_by: Path | None = None) -> Path:
    """A certificate and key in one file, signed by an authority's file or by itself."""
    key, request, made = (directory / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:{'FALSE' if signed_by else 'TRUE'}\n")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={name}", "-out", request]
    subprocess.run(new, check=True, capture_output=True, timeout=60)
    by = ["-CA", signed_by, "-CAkey", signed_by, "-CAcreateserial"] if signed_by else ["-signkey", key]
    sign = ["openssl", "x509", "-req", "-in", request, "-out", made, "-days", "2", "-extfile", extensions, *by]
    subprocess.run(sign, check=True, capture_output=True, timeout=60)
    both = directory / f"{name}.pem"
    both.write_text(made.read_text() + key.read_text())
    return both


async def answer_of_model(tmp_path: Path, state: str, served: Path, trusted: Path) -> tuple[str, list[bytes]]:
    """What a job gets of a model API that shows one certificate where another is trusted; what the API got."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    async with (
        upstream(tls=context) as model,
        backend(
            tmp_path / state,
            model_url=f"https://model.example.org:{model.port}",
            model_ca=trusted,
            hosts={"model.example.org": "127.0.0.1"},
        ) as boxes,
    ):
        await boxes.start(box())
        ask = 'curl -s -o /dev/null -w "%{http_code}" --noproxy "*" $ANTHROPIC_BASE_URL/v1/messages'
        return (await run(boxes, "demo", ["sh", "-c", ask])).output, model.received


async def test_key_is_given_to_nobody_but_the_model_whose_certificate_is_good(tmp_path: Path) -> None:
    version = await asyncio.to_thread(subprocess.check_output, [find("squid"), "-v"], timeout=20)
    if b"--with-openssl" not in version:
        pytest.skip("this squid is built without OpenSSL and is refused for https: install squid-openssl")
    with program("") as shown:  # where squid's own user may read
        directory = shown.parent
        authority = certificate(directory, "authority.example.org")
        trusted = directory / "trusted"
        trusted.write_text((directory / "authority.example.org.crt").read_text())
        good = certificate(directory, "model.example.org", signed_by=authority)
        status_code, received = await answer_of_model(tmp_path, "good", good, trusted)
        assert (status_code, KEY.encode() in received[-1]) == ("200", True)
        other = certificate(directory, "other.example.org", signed_by=authority)
        assert await answer_of_model(tmp_path, "name", other, trusted) == ("503", [])
        own = certificate(directory, "model.example.org")
        assert await answer_of_model(tmp_path, "own", own, trusted) == ("503", [])


async def test_model_is_served_to_boxes_that_are_up_alone(tmp_path: Path) -> None:
    async with upstream() as model, backend(tmp_path / "s", model_url=f"http://127.0.0.1:{model.port}") as boxes:
        await boxes.start(box())
        port = instance(tmp_path / "s")["model_port"]

        async def asked(source: str, *before: str) -> str:
            url = f"http://127.0.0.1:{port}/v1/messages"
            argv = [*before, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", source, url]
            return (await asyncio.to_thread(subprocess.check_output, argv, timeout=20)).decode()

        assert await asked("127.64.1.7") == "200"
        for stranger in ("127.0.0.1", "127.64.2.7", "127.63.1.7"):
            assert await asked(stranger) == "403"
        if os.geteuid() == 0:
            assert await asked("127.64.1.7", "runuser", "-u", "nobody", "--") == "403"
        await boxes.stop("demo")
        assert await asked("127.64.1.7") == "403"


async def test_key_is_in_no_argv_environment_or_readable_file(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        pid = instance(tmp_path / "s")["pid"]
        for name in ("cmdline", "environ"):
            assert KEY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        runtime = Runtime(tmp_path / "s").path
        holders = [path for path in runtime.rglob("*") if path.is_file() and KEY in path.read_text(errors="replace")]
        assert [path.name for path in holders] == ["squid.conf"]
        assert stat.S_IMODE(holders[0].stat().st_mode) == 0o400
        kept = [path for path in (tmp_path / "s").rglob("*") if path.is_file() and path.parent != runtime]
        assert not any(KEY in path.read_text(errors="replace") for path in kept)
        if os.geteuid() == 0:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert not holders[0].exists()


# squid's life


async def test_squid_that_dies_is_started_again_and_jobs_go_on(tmp_path: Path) -> None:
    async with upstream() as server, backend(tmp_path / "s") as boxes:
        await boxes.start(box("demo", f"allowed.example.org:{server.port}"))
        before = instance(tmp_path / "s")
        assert await status(boxes, server) == "200"
        os.kill(before["pid"], signal.SIGKILL)

        async def again() -> bool:
            return instance(tmp_path / "s")["pid"] != before["pid"] and await status(boxes, server) == "200"

        await until(again)
        after = instance(tmp_path / "s")
        assert (after["proxy_port"], after["model_port"]) == (before["proxy_port"], before["model_port"])


SERVICE = """
import asyncio, sys
from pathlib import Path
from boxing import backend, box
from executor.durable import Boxrun, Spec
async def main():
    async with backend(Path(sys.argv[1])) as boxes:
        await boxes.start(box("demo", "allowed.example.org:" + sys.argv[2]))
        await Boxrun(boxes, "demo").start("long", Spec(["sh", "-c", sys.argv[3]], {}, "/workspace", slot=7))
        print("up", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_squid_and_jobs_outlive_the_service_and_are_found_again(tmp_path: Path) -> None:
    async with upstream() as server:
        ask = TRY.format(port=server.port)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        service = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SERVICE, str(tmp_path / "s"), str(server.port)),
            f"until [ -e go ]; do sleep 0.05; done; {ask}",
            env=env,
            stdout=subprocess.PIPE,
        )
        assert service.stdout
        assert await asyncio.wait_for(service.stdout.readline(), 30) == b"up\n"
        service.kill()
        await service.wait()
        before = instance(tmp_path / "s")
        async with backend(tmp_path / "s") as boxes:
            assert (await boxes.status())["demo"].state is BoxState.RUNNING
            assert [job.state for job in await Boxrun(boxes, "demo").list()] == ["running"]
            await said(boxes, "demo", ["touch", "go"])
            assert (await ended(boxes, "demo", "long")).output == "200"
            await boxes.start(box())
            assert instance(tmp_path / "s") == before
        assert not start_time(before["pid"])  # nothing runs any more, so neither does squid


async def test_squid_is_left_to_the_jobs_that_run_and_ended_without_any(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        await Boxrun(boxes, "demo").start("long", Spec(["sleep", "60"], {}, "/workspace", slot=7))
    pid = instance(tmp_path / "s")["pid"]
    assert start_time(pid)
    async with backend(tmp_path / "s") as boxes:
        await boxes.stop("demo")
        assert (await boxes.status())["demo"].state is BoxState.STOPPED
    assert not start_time(pid)


async def test_changed_configuration_gets_a_new_squid(tmp_path: Path) -> None:
    async with upstream() as server:
        allowed = box("demo", f"moved.example.org:{server.port}")
        ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://moved.example.org:{server.port}/"]
        async with backend(tmp_path / "s", hosts={"moved.example.org": "10.1.1.1"}) as boxes:
            await boxes.start(allowed)
            await Boxrun(boxes, "demo").start("long", Spec(["sleep", "60"], {}, "/workspace", slot=7))
            assert (await run(boxes, "demo", ask)).output == "403"
        before = instance(tmp_path / "s")
        async with backend(tmp_path / "s", hosts={"moved.example.org": "127.0.0.1"}) as boxes:
            await boxes.start(allowed)
            assert (await run(boxes, "demo", ask)).output == "200"
            await boxes.stop("demo")
        assert instance(tmp_path / "s")["pid"] != before["pid"]
        assert instance(tmp_path / "s")["proxy_port"] == before["proxy_port"]
        assert not start_time(before["pid"])


async def test_orphan_of_a_service_that_died_before_it_wrote_down_its_squid_is_ended(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        await Boxrun(boxes, "demo").start("long", Spec(["sleep", "60"], {}, "/workspace", slot=7))
    orphan = instance(tmp_path / "s")["pid"]
    (tmp_path / "s" / "squid.json").unlink()
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        assert not start_time(orphan)
        await boxes.stop("demo")


async def test_two_backends_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    async with upstream() as server, backend(tmp_path / "a") as one, backend(tmp_path / "b") as two:
        await asyncio.gather(one.start(box("demo", f"allowed.example.org:{server.port}")), two.start(box()))
        assert await status(one, server) == "200"
        assert await status(two, server) == "403"


# the end of a box


async def test_stop_kills_every_job_and_command_and_lets_nothing_out_any_more(tmp_path: Path) -> None:
    async with upstream() as server, backend(tmp_path / "s") as boxes:
        await boxes.start(box("demo", f"allowed.example.org:{server.port}"))
        boxrun, mark = Boxrun(boxes, "demo"), f"7{os.getpid()}"
        stubborn = f"trap '' INT TERM; sleep {mark} & echo kept > kept; wait; wait"
        for n in range(4):
            await boxrun.start(f"job-{n}", Spec(["sh", "-c", stubborn], {}, "/workspace", slot=n + 1))
        async with boxes.exec("demo", ["sleep", mark]) as command:
            began = time.perf_counter()
            await boxes.stop("demo")
            assert time.perf_counter() - began < 5
            assert await command.wait() == 137
        assert sleepers(mark) == []
        assert {job.state for job in await boxrun.list()} == {"exited"}
        assert await status(boxes, server) == "403"
        assert (tmp_path / "s/boxes/demo/workspace/kept").read_text() == "kept\n"


async def test_delete_removes_what_the_agent_made_unwritable(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        await boxes.start(box("second"))
        await said(boxes, "demo", ["sh", "-c", "mkdir -p a/b/c && touch a/b/c/d && chmod -R a-rwx a"])
        await boxes.delete("demo")
        assert "demo" not in await boxes.status()
        assert sorted(path.name for path in (tmp_path / "s/boxes").iterdir()) == ["second"]
        await boxes.delete("demo")  # nothing to do is no mistake
        await boxes.start(box("third"))
        index = json.loads((tmp_path / "s/boxes.json").read_text())
        assert index == {"second": 2, "third": 1}


async def test_delete_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "s" / "boxes" / ".gone-abc" / "workspace"
    left.mkdir(parents=True)
    left.chmod(0o500)
    async with backend(tmp_path / "s"):

        async def gone() -> bool:
            return not left.exists()

        await until(gone)


async def test_workspace_of_a_box_persists_and_belongs_to_its_user(tmp_path: Path) -> None:
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        await run(boxes, "demo", ["sh", "-c", "echo here > file; echo there > ~/.claude/file; echo lost > ~/lost"])
        await boxes.stop("demo")
    async with backend(tmp_path / "s") as boxes:
        await boxes.start(box())
        shown = await run(boxes, "demo", ["sh", "-c", "cat file ~/.claude/file; ls ~; stat -c %U file"])
    assert shown.lines == ["here", "there", "agent"]
    owner = (tmp_path / "s/boxes/demo/workspace/file").stat().st_uid
    assert owner == (first_uid(tmp_path / "s") + 1 if os.geteuid() == 0 else os.geteuid())


def test_two_state_directories_have_users_of_their_own(tmp_path: Path) -> None:
    one, two = first_uid(tmp_path / "a"), first_uid(tmp_path / "b")
    assert abs(one - two) > 16383
    assert min(one, two) >= FIRST_UID
    assert max(one, two) + 16383 <= LAST_UID
