"""A project for tests: a remote on this machine, its repository in a box, and hands on both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bare_backend import BareBackend
from local_box import LocalBox

from executor.repository import Repository

TRAILERS = {"Rdev-Actor": "local:0", "Rdev-Job": "job-1"}
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ann"), ("EMAIL", "ann@example.org"))
}


def git(where: Path, *args: str) -> str:
    """What git says on the machine itself, outside of every box."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(where), "GIT_CONFIG_GLOBAL": "/dev/null", **_IDENTITY}
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *args], cwd=where, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape").strip()


@dataclass
class Workshop:
    """The remote is bare; `clone` is a colleague's."""

    backend: BareBackend | LocalBox
    repository: Repository
    remote: Path
    clone: Path

    def colleague(self, name: str, text: str, *, branch: str = "main", message: str = "a colleague's") -> str:
        """Commit a file on the remote as somebody else would."""
        git(self.clone, "fetch", "-q")
        if git(self.clone, "branch", "--remotes", "--list", f"origin/{branch}"):
            git(self.clone, "checkout", "-q", "--detach", f"origin/{branch}")
        path = self.clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "-m", message)
        git(self.clone, "push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return git(self.clone, "rev-parse", "HEAD")

    async def work(self, script: str, session: str = "fix") -> str:
        """What the agent does in its worktree."""
        return await self.backend.sh(
            "export GIT_AUTHOR_NAME=Claude GIT_AUTHOR_EMAIL=c@example.org "
            f"GIT_COMMITTER_NAME=Claude GIT_COMMITTER_EMAIL=c@example.org\n{script}",
            cwd=f"/workspace/worktrees/{session}",
        )

    async def worked(self, session: str = "fix", name: str = "new.txt") -> str:
        """A session that has something to push: the commit."""
        await self.repository.open_worktree(session)
        await self.work(f"echo work >>{name}", session)
        commit = await self.repository.commit(session, "work", TRAILERS | {"Rdev-Job": f"job-{session}"}, "local:0")
        assert commit
        return commit.commit

    def remote_refs(self) -> dict[str, str]:
        """Every ref of the remote."""
        lines = git(self.remote, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return {line.split(" ")[0]: line.split(" ")[1] for line in lines}


def workshop(
    root: Path,
    *,
    backend: LocalBox | None = None,
    empty: bool = False,
    protected: Iterable[str] = (),
    branch: str = "",
) -> Workshop:
    """A remote with one commit on main (README, src/a.txt, .gitignore with *.log) and a box that knows nothing yet."""
    for name in ("remote.git", "workspace", "guarded", "clone"):
        (root / name).mkdir(parents=True)
    remote, clone = root / "remote.git", root / "clone"
    git(remote, "init", "-q", "--bare", "-b", "main")
    git(clone, "init", "-q", "-b", "main")
    git(clone, "remote", "add", "origin", str(remote))
    box = backend or BareBackend(root / "workspace", root / "guarded")
    made = Workshop(box, Repository(box, "demo", str(remote), branch, protected=tuple(protected)), remote, clone)
    if not empty:
        (clone / "README").write_text("hello\n")
        (clone / ".gitignore").write_text("*.log\n")
        made.colleague("src/a.txt", "a\n", message="first")
    return made
