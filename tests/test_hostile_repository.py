"""A repository whose owner wants git to run something outside the sandbox.

Every trap leaves a file in /workspace where it goes off inside, and one in `canaries` where it goes off outside.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bare_backend import BareBackend
from local_box import local_box
from workshop import TRAILERS, Workshop, git, workshop

from executor.errors import RepositoryError
from executor.repository import Repository

KEY = "-----BEGIN OPENSSH PRIVATE KEY----- c2VjcmV0LWRlcGxveS1rZXk"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    (tmp_path / "canaries").mkdir()
    async with local_box(tmp_path) as backend:
        yield workshop(tmp_path, backend=backend)


def fired(shop: Workshop) -> set[str]:
    """The traps that went off outside."""
    return {path.name for path in (shop.remote.parent / "canaries").iterdir()}


async def fired_inside(shop: Workshop) -> set[str]:
    return {name for name in (await shop.backend.sh("ls /workspace")).split() if name.startswith("ran-")}


def trap(shop: Workshop, name: str) -> str:
    """A command line that goes off, for a configuration value."""
    return f"touch /workspace/ran-{name} {shop.remote.parent}/canaries/ran-{name} 2>/dev/null; false"


def traps(shop: Workshop) -> dict[str, str]:
    """Configuration keys and values, each of which makes some git run its value."""
    keys = [
        "core.fsmonitor", "core.sshCommand", "core.editor", "sequence.editor", "core.pager", "core.askPass",
        "core.gitProxy", "core.alternateRefsCommand", "diff.external", "diff.evil.command",
        "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge", "merge.evil.driver",
        "uploadpack.packObjectsHook", "remote.origin.uploadpack", "remote.origin.receivepack", "gpg.program",
        "gpg.ssh.program",
    ]  # fmt: skip
    values = {key: trap(shop, key) for key in keys}
    for word in ("status", "fetch", "push", "add", "bundle", "index-pack"):
        values[f"alias.{word}"] = f"!{trap(shop, f'alias.{word}')}"
    values["credential.helper"] = f"!{trap(shop, 'credential.helper')}"
    ext = f"ext::sh -c touch% {shop.remote.parent}/canaries/ran-ext%,/workspace/ran-ext"
    return values | {
        f"url.{ext}.insteadOf": str(shop.remote),
        f"url.{ext}.pushInsteadOf": str(shop.remote),
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "core.hooksPath": "/workspace/hooks",
        "core.attributesFile": "/workspace/attributes",
        "core.worktree": "/etc",
        "core.bigFileThreshold": "1",
        "commit.gpgSign": "true",
        "push.gpgSign": "true",
        "push.recurseSubmodules": "on-demand",
        "submodule.recurse": "true",
        "color.ui": "always",
        "diff.noprefix": "true",
        "core.quotePath": "false",
        "remote.pushDefault": "evil",
        "receive.denyCurrentBranch": "ignore",
        "include.path": "/workspace/more.config",
        "filter.evil.required": "false",
    }


_HOOKS = [
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit",
    "prepare-commit-msg", "commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push",
    "pre-receive", "update", "proc-receive", "post-receive", "post-update", "reference-transaction",
    "push-to-checkout", "pre-auto-gc", "post-rewrite", "post-index-change",
]  # fmt: skip


async def plant(shop: Workshop) -> None:
    """Work in a session whose repository is trapped in every way there is."""
    await shop.repository.open_worktree("fix")
    hooks = "".join(f"hook {name} {shlex.quote(trap(shop, f'hook-{name}'))}\n" for name in _HOOKS)
    await shop.work(
        "hook() { for d in /workspace/repo/.git/hooks /workspace/hooks; do mkdir -p $d;"
        f"printf '#!/bin/sh\\n%s\\n' \"$2\" >$d/$1; chmod +x $d/$1; done; }}\n{hooks}"
        "echo '* diff=evil filter=evil merge=evil' >.gitattributes; cp .gitattributes /workspace/attributes"
    )
    await shop.work("echo from the agent >src/a.txt; echo new >new.txt")
    config = "".join(f"{key}\n{value}\0" for key, value in traps(shop).items())
    host = shop.backend.workspace / "repo/.git/config"
    for entry in config.split("\0")[:-1]:
        key, value = entry.split("\n", 1)
        git(host.parent, "config", "--file", str(host), key, value)
    (shop.backend.workspace / "more.config").write_text('[core]\n\tfsmonitor = "' + trap(shop, "included") + '"\n')


def clear(shop: Workshop) -> None:
    for path in [*(shop.remote.parent / "canaries").iterdir(), *shop.backend.workspace.glob("ran-*")]:
        path.unlink()


def naively(shop: Workshop, *args: str) -> None:
    """What a service would do that trusts the agent's repository."""
    worktree = shop.backend.workspace / "worktrees/fix"
    admin = shop.backend.workspace / "repo/.git/worktrees/fix"
    environment = {"PATH": "/usr/bin:/bin", "GIT_DIR": str(admin), "GIT_WORK_TREE": str(worktree)}
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *args]
    subprocess.run(command, cwd=worktree, env=environment, capture_output=True, timeout=20, check=False)


async def everything(shop: Workshop) -> str:
    """Each operation there is, on a session with changes; the commit that was pushed."""
    repository = shop.repository
    await repository.fetch()
    _, before = await repository.begin("fix", "before")
    assert "from the agent" in await repository.diff("fix")
    assert (await repository.changes("fix", before.commit)).since_base
    commit = await repository.commit("fix", "x", TRAILERS, "local:0")
    assert commit
    assert not (await repository.push("fix")).nothing_new
    (shop.backend.workspace / "worktrees/fix/src/a.txt").write_text("worse\n")
    await repository.rewind("fix", before.number)
    assert (shop.backend.workspace / "worktrees/fix/src/a.txt").read_text() == "from the agent\n"
    assert await repository.checkpoints("fix")
    return commit.commit


async def test_the_traps_go_off_where_git_is_run_naively(shop: Workshop) -> None:
    await plant(shop)
    naive = "set +e; export GIT_WORK_TREE=$PWD; git status; git add -A; git commit -m x; git diff; git push; :"
    await shop.work(f"exec </dev/null >/dev/null 2>&1; {naive}")
    inside = await fired_inside(shop)
    assert {"ran-included", "ran-filter.evil.clean", "ran-hook-post-index-change"} <= inside
    assert not fired(shop)
    for args in (
        ("status",),
        ("add", "-A"),
        ("diff", "HEAD"),
        ("commit", "-m", "x"),
        ("fetch", "origin"),
        ("log", "-p", "-1"),
    ):
        naively(shop, *args)
    assert {"ran-core.fsmonitor", "ran-filter.evil.clean", "ran-diff.evil.command"} <= fired(shop)


async def test_nothing_of_a_trapped_repository_runs_outside(shop: Workshop) -> None:
    await plant(shop)
    clear(shop)
    before = shop.remote_refs()
    commit = await everything(shop)
    await shop.repository.close_worktree("fix")
    assert fired(shop) == set()
    assert shop.remote_refs() == before | {"refs/heads/rdev/fix": commit}
    # Inside, hooks and watchers are passed over, too. Filters are not: what is stored would not be the same.
    assert await fired_inside(shop) <= {"ran-filter.evil.clean", "ran-filter.evil.smudge"}


async def test_names_and_refs_meant_to_confuse_are_only_names(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "echo from the agent >src/a.txt;"
        "for n in -x --upload-pack=x 'ü€' -; do git update-ref \"refs/heads/$n\" HEAD; done;"
        "cd /workspace/repo/.git; m=$(printf '1%.0s' $(seq 40)); h=$(git rev-parse HEAD || git rev-parse origin/HEAD);"
        'echo $m >refs/heads/missing; echo $m >refs/tags/missing; echo "$h" >"$(printf \'refs/heads/a\\nb\')";'
        'echo "$h" >refs/heads/bad.lock; echo "ref: refs/heads/loop" >refs/heads/loop; echo junk >refs/heads/junk;'
        "echo $m >refs/remotes/origin/gone; mkdir -p refs/rdev/checkpoints/fix; echo $m >refs/rdev/checkpoints/fix/abc;"
        "echo $m >refs/remotes/origin/HEAD; printf '\\033[2J' >refs/heads/esc; echo $h >refs/rdev/checkpoints/fix/-1"
    )
    before = shop.remote_refs()
    commit = await everything(shop)
    assert shop.remote_refs() == before | {"refs/heads/rdev/fix": commit}


@pytest.mark.parametrize(
    "replace",
    [
        "rm .git; ln -s /workspace/evil/.git .git",
        "rm .git; cp -r /workspace/evil/.git .git",
        "echo gitdir: /workspace/evil/.git >.git",
    ],
)
async def test_a_replaced_git_directory_leads_nowhere(shop: Workshop, replace: str) -> None:
    await shop.repository.open_worktree("fix")
    line = trap(shop, "replaced")
    (shop.backend.workspace / "trap").write_text(f"#!/bin/sh\n{line}\n")
    await shop.work(
        "chmod +x /workspace/trap || :; git init -q /workspace/evil; cd /workspace/evil; echo evil >evil; git add evil;"
        "git commit -qm evil; git config core.fsmonitor 'touch /workspace/ran-replaced; false';"
        f"cd /workspace/worktrees/fix; echo from the agent >src/a.txt; {replace}"
    )
    taken = await shop.repository.checkpoint("fix", "while replaced")
    assert (
        await shop.backend.sh(f"git --git-dir=/workspace/repo/.git show {taken.commit}:src/a.txt") == "from the agent\n"
    )
    commit = await everything(shop)
    assert git(shop.remote, "show", "--format=%H", "--name-only", commit) == f"{commit}\n\nsrc/a.txt"
    assert fired(shop) == set()
    assert await fired_inside(shop) == set()


async def test_alternates_lead_to_nothing_outside(shop: Workshop, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "private")
    (tmp_path / "private/secret").write_text("s3cret\n")
    git(tmp_path / "private", "add", "-A")
    git(tmp_path / "private", "commit", "-q", "-m", "private")
    theirs = git(tmp_path / "private", "rev-parse", "HEAD")
    await shop.repository.open_worktree("fix")
    await shop.work(
        f"echo {tmp_path}/private/.git/objects >/workspace/repo/.git/objects/info/alternates;"
        f"echo from the agent >src/a.txt; ! git cat-file -e {theirs} 2>/dev/null"
    )
    await everything(shop)
    await shop.work(f"echo {theirs} >/workspace/repo/.git/refs/heads/rdev/fix")
    with pytest.raises(RepositoryError):
        await shop.repository.push("fix")
    assert "s3cret" not in git(shop.remote, "log", "--all", "-p")


async def test_a_submodule_with_a_command_for_an_address_is_only_recorded(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    url = f"ext::sh -c touch% {shop.remote.parent}/canaries/ran-submodule%;touch% /workspace/ran-submodule"
    await shop.work(
        f"echo from the agent >src/a.txt; printf '[submodule \"s\"]\\n path = s\\n url = %s\\n' '{url}' >.gitmodules;"
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),s; mkdir s; git add -A; git commit -qm sub;"
        'git config submodule.s.url "$(git config -f .gitmodules submodule.s.url)"; git config submodule.s.active true;'
        "echo more >more"
    )
    await everything(shop)
    assert fired(shop) == set()
    assert await fired_inside(shop) == set()


_SUBMODULE = "printf '[submodule \"{}\"]\\n path = s\\n url = {}\\n' >.gitmodules; git add -A; git commit -qm x"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_SUBMODULE.format("s", "-u./x"), "gitmodules"),
        (_SUBMODULE.format("../s", "x"), "gitmodules"),
        (
            'b=$(echo x | git hash-object -w --stdin); t=$(printf "100644 blob $b\\t.git\\n" | git mktree);'
            "git reset -q --soft $(git commit-tree -p HEAD -m x $t)",
            "hasDotgit",
        ),
        (
            "for i in 1 2; do echo $i >x; git add x; git commit -qm $i; done;"
            "git rev-parse HEAD >/workspace/repo/.git/shallow",
            "did not receive expected object",
        ),
    ],
)
async def test_objects_that_no_server_would_take_are_not_pushed(shop: Workshop, make: str, words: str) -> None:
    await shop.repository.open_worktree("fix")
    before = shop.remote_refs()
    await shop.work(make)
    with pytest.raises(RepositoryError, match=words):
        await shop.repository.push("fix")
    assert shop.remote_refs() == before
    assert not list((shop.backend.guarded / "incoming").iterdir())
    await shop.work("rm -f /workspace/repo/.git/shallow; git reset -q --hard origin/main; echo good >good")
    assert await shop.repository.commit("fix", "good", TRAILERS, "local:0")
    assert not (await shop.repository.push("fix")).nothing_new


async def test_a_push_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    shop.repository = Repository(shop.backend, "demo", str(shop.remote), push_bytes=100_000)
    await shop.repository.open_worktree("fix")
    await shop.work("head -c 200000 /dev/urandom >big; git add -A; git commit -qm big")
    with pytest.raises(RepositoryError, match="more than 100000 bytes"):
        await shop.repository.push("fix")
    assert list(shop.remote_refs()) == ["refs/heads/main"]


async def test_the_deploy_key_opens_the_remote_and_never_reaches_the_box(tmp_path: Path) -> None:
    key, seen = tmp_path / "key-of-demo", tmp_path / "seen"
    key.write_text(KEY)
    for name in ("bin", "canaries"):
        (tmp_path / name).mkdir()
    ssh = tmp_path / "bin/ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{seen}\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    shop = workshop(tmp_path)
    assert isinstance(shop.backend, BareBackend)
    shop.backend.git_environment |= {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "GIT_SSH_COMMAND": f"ssh -i {key} -o IdentitiesOnly=yes -o BatchMode=yes",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    shop.repository = Repository(shop.backend, "demo", f"ssh://git@git.example.org{shop.remote}")
    await plant(shop)
    commit = await everything(shop)
    assert shop.remote_refs()["refs/heads/rdev/fix"] == commit
    calls = seen.read_text().splitlines()
    assert all(f"-i {key} -o IdentitiesOnly=yes" in call and "git@git.example.org" in call for call in calls)
    assert {"git-upload-pack", "git-receive-pack"} <= {word for call in calls for word in call.split()}
    said = await shop.backend.sh("cat /proc/*/environ | tr '\\0' '\\n'; grep -raF key-of-demo /workspace || :")
    assert "key-of-demo" not in said
    assert all(KEY.encode() not in path.read_bytes() for path in shop.backend.workspace.rglob("*") if path.is_file())
    assert fired(shop) == set()
