"""A project's repository in its box: worktrees, checkpoints, commits and pushes, on every backend the same.

Two repositories and one fence. The agent works in the one in the sandbox, which git opens only in there, without a
network and without a key. The guarded one is outside, is ours alone, and talks to the remote. Between them go packs
of objects, streamed, and each holds only what the other side lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

from executor import crossing, git
from executor import worktree_scripts as scripts
from executor.backend import Backend
from executor.crossing import carry, mirrored, updates
from executor.errors import RepositoryError
from executor.guarded import PUSH_BYTES, Guarded, revisions
from executor.script import TIMED_OUT, Shell
from executor.worktree import (
    Changes,
    Checkpoint,
    Commit,
    PushResult,
    Worktree,
    read_changes,
    read_checkpoint,
    read_checkpoints,
    read_commit,
    read_worktree,
)

__all__ = ["Changes", "Checkpoint", "Commit", "PushResult", "Repository", "Worktree"]


class Repository:
    """One project's repository; every method raises RepositoryError with what git said."""

    def __init__(
        self,
        backend: Backend,
        project: str,
        url: str,
        branch: str = "",
        *,
        protected: Sequence[str] = (),
        push_bytes: int = PUSH_BYTES,
    ) -> None:
        self._shell = Shell(backend, project)
        self._where = git.remote(url)
        self._wanted = branch
        self._base = branch
        self._protected = tuple(protected)
        self._guarded = Guarded(self._shell, url, push_bytes)
        self._crossing = asyncio.Lock()
        self._sessions: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def base(self) -> str:
        """The branch sessions start from; empty before the first fetch and in an empty repository."""
        return self._base

    async def prepare(self) -> None:
        """Bring both repositories to the remote's state, cloning on first use."""
        async with self._crossing:
            first, *rest = (await self._shell.run(crossing.HAVE, self._where.url)).lines()
            have = mirrored(git.parse_refs(rest))
            fetched = await self._guarded.fetch(ask_head=not self._wanted)
            refs = mirrored(fetched.refs)
            branches = {ref.removeprefix(git.ORIGIN): name for ref, name in refs.items() if ref.startswith(git.ORIGIN)}
            try:
                self._base = git.default_branch(self._wanted, fetched.head, branches)
            except ValueError as e:
                raise RepositoryError("find the base branch", 1, str(e)) from e
            changed = updates(refs, have)
            if changed or first != f"base {git.ORIGIN if self._base else ''}{self._base}":
                await self._bring(changed, set(refs.values()) - set(have.values()), set(have.values()))

    async def fetch(self) -> None:
        """Bring both repositories to the remote's state."""
        await self.prepare()

    async def open_worktree(self, session: str) -> Worktree:
        """The session's worktree, made or repaired where it has to be; a new branch starts at the remote's base."""
        return read_worktree(session, await self._open(session, ""))

    async def begin(self, session: str, label: str) -> tuple[Worktree, Checkpoint]:
        """Open the worktree and take a checkpoint, in one go: what comes before a turn."""
        lines = await self._open(session, git.one_line(label) or "checkpoint")
        return read_worktree(session, lines), read_checkpoint(lines)

    async def _open(self, session: str, label: str) -> list[str]:
        git.branch_of(session)
        async with self._lock(session):
            try:
                lines = (await self._shell.run(scripts.OPEN, session, "", label)).lines()
            except RepositoryError as e:
                if e.code == TIMED_OUT:
                    raise
                lines = []
            if lines and lines[0]:
                return lines
            await self.prepare()
            return (await self._shell.run(scripts.MAKE, session, "new", label)).lines()

    async def close_worktree(self, session: str) -> None:
        """Remove the session's worktree, branch and checkpoints; its last state stays in a hidden ref for a while."""
        git.branch_of(session)
        async with self._lock(session), self._crossing:
            await self._shell.run(scripts.CLOSE, session)
            await self._guarded.forget(session)

    async def checkpoint(self, session: str, label: str) -> Checkpoint:
        """Save all files that are not ignored in a hidden ref; the last checkpoint where nothing changed since."""
        git.branch_of(session)
        async with self._lock(session):
            label = git.one_line(label) or "checkpoint"
            return read_checkpoint((await self._shell.run(scripts.CHECKPOINT, session, label)).lines())

    async def checkpoints(self, session: str) -> list[Checkpoint]:
        """The session's checkpoints, oldest first."""
        git.branch_of(session)
        return read_checkpoints((await self._shell.run(scripts.LIST, session)).lines())

    async def rewind(self, session: str, number: int) -> Checkpoint:
        """Put the files back as they were at a checkpoint, and return the one taken just before.

        HEAD and the index stay; files that are not ignored and were not there then are removed.
        """
        git.branch_of(session)
        async with self._lock(session):
            label = f"before rewinding to {number}"
            return read_checkpoint((await self._shell.run(scripts.REWIND, session, str(number), label)).lines())

    async def commit(self, session: str, message: str, trailers: Mapping[str, str], author: str) -> Commit | None:
        """Commit all that changed to what is checked out; None where nothing did, or where a merge is unfinished.

        `author` is an actor, or `Name <address>`. The trailer Rdev-Job makes it safe to call again: where a commit
        of that job is there, that one is returned.
        """
        git.branch_of(session)
        job = git.job_id(trailers.get("Rdev-Job", ""))
        text = git.message(message, trailers).encode("utf-8", "replace")
        async with self._lock(session):
            said = await self._shell.run(scripts.COMMIT, session, job, *git.identity(author), stdin=text)
        return read_commit(said.lines())

    async def changes(self, session: str, since: str = "") -> Changes:
        """How the session's files differ from its base, and from a commit such as a job's first checkpoint."""
        git.branch_of(session)
        if since and not git.is_commit(since):
            raise ValueError(f"{since[:80]!r} is no commit")
        async with self._lock(session):
            return read_changes((await self._shell.run(scripts.CHANGES, session, since)).lines())

    async def diff(self, session: str, against: int | None = None) -> str:
        """The session's changes as a patch, since its base or since a checkpoint; a long one is cut and says so."""
        git.branch_of(session)
        async with self._lock(session):
            number = "" if against is None else str(against)
            said = await self._shell.run(scripts.DIFF, session, number, cuts=True)
        text = git.printable(said.data.decode("utf-8", "replace"))
        return f"{text}\n[cut after {len(said.data)} bytes]\n" if said.cut else text

    async def push(self, session: str) -> PushResult:
        """Take the session's commits out of the sandbox, check them, and push them to its own branch, `rdev/<name>`."""
        branch = git.branch_of(session)
        if git.is_protected(branch, self._protected):
            raise RepositoryError("push", 1, f"the project protects {branch}")
        async with self._crossing, self._shell.start(crossing.GIVE, session) as source:
            await source.feed(revisions([], await self._guarded.known()))
            line, pack = await source.line()
            tip = line.decode("ascii", "replace")
            if not git.is_commit(tip):
                await source.ended()
                raise crossing.GIVE.failed(1, "the sandbox named no commit")
            pack = pack or await source.process.read()
            async with self._guarded.push(session, tip, packed=bool(pack)) as sink:
                await carry(source, sink, pack, limit=self._guarded.push_bytes)
                outcome = (await sink.read()).data
                await sink.ended()
        url = git.pull_request_url(self._where, branch, self._base) if self._base else ""
        return PushResult(tip, branch, url, nothing_new=outcome == b"nothing\n")

    async def _bring(self, changed: bytes, want: set[str], have: set[str]) -> None:
        async with self._guarded.pack(want, have) as source, self._shell.start(crossing.TAKE, self._base) as sink:
            await sink.feed(b"%d\n%s" % (len(changed), changed), last=False)
            await carry(source, sink)
            await sink.ended()

    def _lock(self, session: str) -> asyncio.Lock:
        return self._sessions.setdefault(session, asyncio.Lock())
