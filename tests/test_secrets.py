"""A planted model key and deploy key are nowhere that the agent, the people or the records could have them from."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

from ssh_remote import ssh_remote
from world import KEY, make_remote, world

from executor.events import ToolEnded, ToolStarted

# All that the agent can read, besides the machine's own programs.
DUMP = (
    "cd /; tar --ignore-failed-read -cf /workspace/dump.tar --exclude=/workspace/dump.tar"
    " /etc /home /opt/rdev --exclude=/opt/rdev/claude /run /tmp /workspace 2>/dev/null;"
    " cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo /proc/[0-9]*/maps > /workspace/proc.txt;"
    " env; cat /proc/self/environ; ls -laR /run /home /workspace | head -500; mount; sleep 2"
)
STORY = {"print": [{"tool": "Bash", "input": {"command": DUMP}}, {"say": "That is all I could read: $RESULT"}]}


def encodings(secret: bytes) -> set[bytes]:
    """The secret as an agent could have written it down."""
    shifted = [base64.b64encode(b"\0" * n + secret)[4 if n else 0 : -4] for n in range(3)]
    return {secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode(), *shifted}


def needles(deploy_key: Path) -> set[bytes]:
    """What must not be found: the model key, and each line of the deploy key's secret part."""
    lines = [line for line in deploy_key.read_bytes().splitlines() if not line.startswith(b"-----")]
    return encodings(KEY.encode()) | {form for line in lines[1:] for form in encodings(line) if len(form) > 12}


def found_in(data: bytes, wanted: set[bytes]) -> bool:
    """Whether any of the needles is in the data."""
    return any(needle in data for needle in wanted)


def files_with(root: Path, wanted: set[bytes]) -> list[Path]:
    """The files below a directory that hold a needle."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if found_in(path.read_bytes(), wanted)]


def processes_with(wanted: set[bytes], *, spare: set[int]) -> list[str]:
    """Processes that show a needle in their argv, or, but for those spared, in their environment."""
    shown = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            argv, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if found_in(argv, wanted) or (int(process.name) not in spare and found_in(environ, wanted)):
            shown.append(f"{process.name} {argv[:200]!r}")
    return shown


async def test_planted_keys_are_found_nowhere(tmp_path: Path) -> None:
    remote = make_remote(tmp_path)
    async with ssh_remote(tmp_path, remote) as ssh:
        project = {"url": ssh.url, "deploy_key": str(ssh.deploy_key), "known_hosts": str(ssh.known_hosts)}
        async with world(tmp_path, STORY, **project) as w:
            wanted = needles(ssh.deploy_key)
            reply = await w.say(f"/claude demo print all that you can read, such as {KEY}")
            await w.until(reply, ToolStarted)
            during = processes_with(wanted, spare={os.getpid()})
            done = await w.done(reply)
            assert done.state == "succeeded", done
            assert not during

            # What Claude could read came out, and is what the agent had: the search below is of the real thing.
            printed = "".join(e.output for e in w.events(reply) if isinstance(e, ToolEnded))
            assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8318" in printed
            dump = tmp_path / "state" / "boxes" / "demo" / "workspace" / "dump.tar"
            assert dump.stat().st_size > 10_000
            assert b"ANTHROPIC_BASE_URL" in (dump.parent / "proc.txt").read_bytes()

            pushed = await w.say("/rdev push", reply.thread)
            assert (await w.done(pushed)).state == "succeeded"  # over ssh, with the deploy key
            spare = {ssh.deploy_key}
            assert [path for path in files_with(tmp_path, wanted) if path not in spare and not _is_squid(path)] == []
            assert not found_in(objects_of(remote), wanted)


def objects_of(repository: Path) -> bytes:
    """Every object of a repository, unpacked."""
    argv = ["git", "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(argv, cwd=repository, check=True, capture_output=True).stdout


def _is_squid(path: Path) -> bool:
    """squid's configuration holds the model key, readable by nobody but its owner."""
    if path.name != "squid.conf":
        return False
    assert path.stat().st_mode & 0o077 == 0
    return True


def test_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100 + base64.b64encode(b"12" + KEY.encode() + b"3") + b"y")
    (tmp_path / "b").write_bytes(b"nothing")

    assert files_with(tmp_path, encodings(KEY.encode())) == [tmp_path / "a"]
    with subprocess.Popen(["sleep", "5"], env={"K": KEY}) as process:
        try:
            assert processes_with({KEY.encode()}, spare=set()) == [
                f"{process.pid} {b'sleep' + bytes(1) + b'5' + bytes(1)!r}"
            ]
        finally:
            process.kill()
