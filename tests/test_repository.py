from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path

import pytest
from local_box import local_box
from workshop import TRAILERS, Workshop, git, workshop

from executor.errors import RepositoryError
from executor.git import plan
from executor.repository import Repository

BOX = "git --git-dir=/workspace/repo/.git"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return workshop(tmp_path)


async def test_a_sessions_whole_life_is_the_same_in_the_real_sandbox(tmp_path: Path) -> None:
    async with local_box(tmp_path) as backend:
        shop = workshop(tmp_path, backend=backend)
        repository = shop.repository
        worktree, before = await repository.begin("fix", "turn")
        assert (before.number, worktree.base) == (1, shop.remote_refs()["refs/heads/main"])
        await shop.work("echo new >new; rm README")
        assert "+new" in await repository.diff("fix")
        assert (await repository.changes("fix", before.commit)).since.startswith("2 files changed")
        commit = await repository.commit("fix", "work", TRAILERS, "local:0")
        assert commit
        assert (await repository.push("fix")).commit == commit.commit
        assert shop.remote_refs()["refs/heads/rdev/fix"] == commit.commit
        theirs = shop.colleague("b.txt", "b\n")
        await repository.fetch()
        assert await shop.work("git rev-parse origin/main") == f"{theirs}\n"
        await repository.rewind("fix", before.number)
        assert await shop.work("ls") == "README\nsrc\n"
        assert [c.number for c in await repository.checkpoints("fix")] == [1, 2]
        await repository.close_worktree("fix")
        assert await backend.sh("ls /workspace/worktrees") == ""


# --- cloning and fetching --------------------------------------------------------------------------------------


async def test_first_use_clones_the_whole_history(shop: Workshop) -> None:
    shop.colleague("b.txt", "b\n")
    git(shop.clone, "tag", "v1")
    git(shop.clone, "push", "-q", "origin", "v1")
    await shop.repository.prepare()
    assert shop.repository.base == "main"
    assert await shop.backend.sh(f"{BOX} log --format=%s origin/HEAD") == "a colleague's\nfirst\n"
    assert await shop.backend.sh(f"{BOX} tag --list") == "v1\n"
    assert await shop.backend.sh(f"{BOX} config remote.origin.url") == f"{shop.remote}\n"
    assert await shop.backend.sh(f"{BOX} fsck --full 2>&1; {BOX} status 2>&1 || :") != ""


async def test_a_fetch_brings_only_what_is_new(shop: Workshop) -> None:
    (shop.clone / "big").write_bytes(bytes(i * i % 251 ^ i % 13 for i in range(300_000)) * 3)
    await shop.repository.prepare()
    shop.colleague("big2", "x")
    await shop.repository.fetch()
    commit = shop.colleague("b.txt", "b\n")
    shop.backend.said = 0
    await shop.repository.fetch()
    assert shop.backend.said < 2000
    assert await shop.backend.sh(f"{BOX} rev-parse origin/main") == f"{commit}\n"


async def test_a_fetch_with_nothing_new_moves_no_objects(shop: Workshop) -> None:
    await shop.repository.prepare()
    shop.backend.calls = 0
    await shop.repository.fetch()
    assert shop.backend.calls == 2


async def test_the_remotes_own_default_branch_is_the_base(shop: Workshop) -> None:
    shop.colleague("t.txt", "t\n", branch="trunk")
    git(shop.remote, "symbolic-ref", "HEAD", "refs/heads/trunk")
    await shop.repository.prepare()
    assert shop.repository.base == "trunk"
    worktree = await shop.repository.open_worktree("fix")
    assert worktree.base == shop.remote_refs()["refs/heads/trunk"]


async def test_a_branch_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    shop = workshop(tmp_path, branch="develop")
    with pytest.raises(RepositoryError, match="no branch 'develop'; it has main"):
        await shop.repository.prepare()


async def test_a_remote_that_is_not_there_is_told_by_git(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    repository = Repository(shop.backend, "demo", str(tmp_path / "gone.git"))
    with pytest.raises(RepositoryError, match=r"fetch from the remote.*does not appear to be a git repository"):
        await repository.prepare()


async def test_a_repository_with_a_work_tree_and_another_owner_is_a_remote_too(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    git(tmp_path, "clone", "-q", str(shop.remote), "work")
    if (tmp_path / "work").owner() == "root":
        for path in (tmp_path / "work").rglob("*"):
            os.chown(path, 12345, 12345, follow_symlinks=False)
    repository = Repository(shop.backend, "demo", str(tmp_path / "work"))
    await repository.prepare()
    await repository.open_worktree("fix")
    await shop.work("echo x >x")
    await repository.commit("fix", "x", TRAILERS, "local:0")
    assert not (await repository.push("fix")).nothing_new
    assert git(tmp_path / "work", "log", "-1", "--format=%s", "rdev/fix") == "x"


async def test_a_pull_in_the_sandbox_takes_what_was_fetched_outside(shop: Workshop) -> None:
    await shop.worked()
    shop.colleague("b.txt", "b\n")
    await shop.repository.fetch()
    assert await shop.work(shlex.join(plan(["fetch"], "fix").argv)) != ""
    await shop.work(shlex.join(plan(["pull", "--rebase"], "fix").argv))
    assert await shop.work("git log -3 --format=%s") == "work\na colleague's\nfirst\n"
    shop.colleague("c.txt", "c\n")
    await shop.repository.fetch()
    await shop.work(shlex.join(plan(["pull", "origin", "main"], "fix").argv))
    assert await shop.work("ls") == "README\nb.txt\nc.txt\nnew.txt\nsrc\n"


async def test_branches_that_are_gone_make_room_for_names_below_them(shop: Workshop) -> None:
    shop.colleague("x", "x", branch="topic")
    await shop.repository.prepare()
    git(shop.clone, "push", "-q", "origin", ":topic")
    shop.colleague("x", "y", branch="topic/a")
    await shop.repository.fetch()
    said = await shop.backend.sh(f"{BOX} for-each-ref --format='%(refname)' refs/remotes")
    assert said.split() == ["refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/topic/a"]


async def test_an_empty_repository_can_be_worked_in(tmp_path: Path) -> None:
    shop = workshop(tmp_path, empty=True)
    await shop.repository.prepare()
    assert shop.repository.base == ""
    await shop.repository.open_worktree("fix")
    with pytest.raises(RepositoryError, match="no commits yet"):
        await shop.repository.push("fix")
    await shop.work("echo one >one")
    before = await shop.repository.checkpoint("fix", "before")
    assert (await shop.repository.changes("fix")).since_base.startswith("1 file changed")
    assert "+one" in await shop.repository.diff("fix")
    await shop.work("rm one; echo two >two")
    await shop.repository.rewind("fix", before.number)
    assert await shop.work("ls") == "one\n"
    commit = await shop.repository.commit("fix", "begin", TRAILERS, "local:0")
    assert commit and commit.stat.startswith("1 file changed")
    assert not (await shop.repository.push("fix")).nothing_new
    assert shop.remote_refs() == {"refs/heads/rdev/fix": commit.commit}


# --- worktrees -------------------------------------------------------------------------------------------------


async def test_a_session_starts_from_the_up_to_date_base(shop: Workshop) -> None:
    await shop.repository.prepare()
    commit = shop.colleague("b.txt", "b\n")
    worktree = await shop.repository.open_worktree("fix")
    assert (worktree.path, worktree.branch, worktree.base) == ("/workspace/worktrees/fix", "rdev/fix", commit)
    assert await shop.work("ls; git status --short --branch") == "README\nb.txt\nsrc\n## rdev/fix...origin/main\n"


async def test_opening_again_changes_nothing_and_is_one_command(shop: Workshop) -> None:
    first = await shop.repository.open_worktree("fix")
    await shop.work("echo x >x; git add x; echo y >>x; git commit -qm y")
    shop.backend.calls = 0
    assert await shop.repository.open_worktree("fix") == first
    assert shop.backend.calls == 1
    assert await shop.work("git status --short; cat x") == " M x\nx\ny\n"


async def test_sessions_stand_side_by_side(shop: Workshop) -> None:
    await asyncio.gather(*(shop.worked(name, f"{name}.txt") for name in ("one", "two", "three")))
    assert await shop.work("ls", "two") == "README\nsrc\ntwo.txt\n"
    pushed = await asyncio.gather(*(shop.repository.push(name) for name in ("one", "two", "three")))
    assert not any(result.nothing_new for result in pushed)


async def test_a_removed_worktree_comes_back_with_its_commits(shop: Workshop) -> None:
    await shop.worked()
    await shop.backend.sh("rm -rf /workspace/worktrees")
    await shop.repository.open_worktree("fix")
    assert await shop.work("ls; git status --short; git log -1 --format=%s") == "README\nnew.txt\nsrc\nwork\n"


@pytest.mark.parametrize(
    "damage",
    [
        "rm .git",
        "rm .git; git init -q",
        "rm .git; ln -s /tmp .git",
        "rm .git; mkfifo .git",
        "rm -rf /workspace/repo/.git/worktrees/fix/HEAD",
        "rm -rf /workspace/repo/.git/worktrees/fix/index",
        "rm -rf /workspace/repo/.git/worktrees/fix",
        "rm -rf /workspace/repo/.git/worktrees/fix/commondir",
        "echo garbage >/workspace/repo/.git/worktrees/fix/HEAD",
        "echo 'ref: refs/heads/nowhere' >/workspace/repo/.git/worktrees/fix/HEAD",
    ],
)
async def test_a_damaged_worktree_is_repaired_and_keeps_its_files(shop: Workshop, damage: str) -> None:
    commit = await shop.worked()
    await shop.work(f"echo precious >precious; {damage}")
    worktree, checkpoint = await shop.repository.begin("fix", "before")
    assert worktree.branch == "rdev/fix"
    assert (
        await shop.work("git rev-parse HEAD; git status --short; cat precious") == f"{commit}\n?? precious\nprecious\n"
    )
    assert "precious" in await shop.backend.sh(f"{BOX} ls-tree --name-only {checkpoint.commit}")


@pytest.mark.parametrize(
    "damage",
    [
        "rm -rf /workspace/repo",
        "rm -rf /workspace/repo; ln -s /tmp /workspace/repo",
        "rm -rf /workspace/repo/.git; echo gitdir: /tmp >/workspace/repo/.git",
        "echo '[' >/workspace/repo/.git/config",
        "rm -rf /workspace/repo/.git/objects",
        "rm /workspace/repo/.git/HEAD",
        "rm -rf /workspace/repo/.git/objects/pack",
    ],
)
async def test_a_damaged_repository_is_made_again_and_the_files_stay(shop: Workshop, damage: str) -> None:
    commit = await shop.worked()
    await shop.repository.push("fix")
    await shop.work(f"echo precious >precious; {damage}")
    await shop.repository.open_worktree("fix")
    assert await shop.work("git rev-parse HEAD; git status --short") == f"{commit}\n?? precious\n"


async def test_a_session_whose_box_is_lost_goes_on_from_what_it_pushed(shop: Workshop) -> None:
    commit = await shop.worked()
    await shop.repository.push("fix")
    await shop.backend.sh("rm -rf /workspace/*")
    await shop.repository.open_worktree("fix")
    assert await shop.work("git rev-parse HEAD") == f"{commit}\n"


async def test_a_closed_session_is_gone_and_its_last_state_is_not(shop: Workshop) -> None:
    await shop.worked("one")
    await shop.worked("two")
    await shop.repository.checkpoint("one", "x")
    await shop.work("echo late >late; mkdir ro; touch ro/x; chmod 500 ro", "one")
    await shop.repository.close_worktree("one")
    await shop.repository.close_worktree("one")
    assert await shop.backend.sh("ls /workspace/worktrees /workspace/repo/.git/worktrees") == (
        "/workspace/repo/.git/worktrees:\ntwo\n\n/workspace/worktrees:\ntwo\n"
    )
    assert await shop.backend.sh(f"{BOX} for-each-ref --format='%(refname)' refs/heads refs/rdev") == (
        "refs/heads/rdev/two\nrefs/rdev/base\nrefs/rdev/closed/one\n"
    )
    assert await shop.backend.sh(f"{BOX} show refs/rdev/closed/one:late") == "late\n"
    with pytest.raises(RepositoryError, match="worktree is gone"):
        await shop.repository.checkpoint("one", "x")


# --- checkpoints -----------------------------------------------------------------------------------------------

_STATE = "git rev-parse HEAD; git symbolic-ref HEAD; git diff --cached; sha1sum $(git rev-parse --git-path index)"


async def test_a_checkpoint_holds_all_but_the_ignored_and_touches_nothing(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo s >staged; git add staged; echo u >untracked; echo i >i.log; rm README; echo b >>src/a.txt")
    before = await shop.work(_STATE)
    taken = await shop.repository.checkpoint("fix", "turn 1\nmore")
    assert await shop.work(_STATE) == before
    assert await shop.work(f"git ls-tree -r --name-only {taken.commit}") == ".gitignore\nsrc/a.txt\nstaged\nuntracked\n"
    assert await shop.work(f"git show {taken.commit}:src/a.txt") == "a\nb\n"
    [listed] = await shop.repository.checkpoints("fix")
    assert (listed.number, listed.commit, listed.label) == (1, taken.commit, "turn 1")
    assert listed.time > 1.7e9


async def test_nothing_new_is_the_same_checkpoint(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    first = await shop.repository.checkpoint("fix", "a")
    assert await shop.repository.checkpoint("fix", "b") == first
    await shop.work("echo x >x")
    assert (await shop.repository.checkpoint("fix", "c")).number == 2


async def test_what_comes_before_a_turn_is_one_command(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    shop.backend.calls = 0
    worktree, checkpoint = await shop.repository.begin("fix", "turn")
    assert shop.backend.calls == 1
    assert (worktree.branch, checkpoint.number) == ("rdev/fix", 1)


async def test_a_session_that_begins_has_its_checkpoint_at_once(shop: Workshop) -> None:
    worktree, checkpoint = await shop.repository.begin("fix", "turn")
    assert (worktree.base, checkpoint.number) == (shop.remote_refs()["refs/heads/main"], 1)


async def test_checkpoints_of_one_session_wait_for_each_other(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("touch x")
    taken = await asyncio.gather(*(shop.repository.checkpoint("fix", str(i)) for i in range(4)))
    assert {c.number for c in taken} == {1}


async def test_old_checkpoints_go(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("for n in 99 100 299; do git update-ref refs/rdev/checkpoints/fix/$n HEAD; done; touch x")
    assert (await shop.repository.checkpoint("fix", "x")).number == 300
    assert [c.number for c in await shop.repository.checkpoints("fix")] == [99, 299, 300]


async def test_an_unfinished_merge_is_saved_and_not_committed(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo one >src/a.txt; git commit -qam one; git checkout -qb other HEAD~; echo two >src/a.txt")
    await shop.work("git commit -qam two; git checkout -q rdev/fix; git merge other || :")
    before = await shop.work("git status --short --branch; git ls-files --unmerged")
    taken = await shop.repository.checkpoint("fix", "conflict")
    assert "<<<<<<<" in await shop.work(f"git show {taken.commit}:src/a.txt")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0") is None
    assert await shop.work("git status --short --branch; git ls-files --unmerged") == before


async def test_odd_files_do_not_keep_the_rest_from_being_saved(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "git init -q nested-without-commits; git init -q nested; git -C nested commit -q --allow-empty -m x;"
        "mkfifo pipe; ln -s /nowhere link; echo no >secret; chmod 0 secret; mkdir shut; touch shut/x; chmod 0 shut;"
        "truncate -s 101M huge; rm README; mkfifo README; touch -- -n \"$(printf 'a\\nb\\033')\" ':(top)x'; echo ok >ok"
    )
    for reading in (shop.repository.checkpoint("fix", "odd"), shop.repository.checkpoint("fix", "odd")):
        taken = await reading
        names = (await shop.work(f"git ls-tree --name-only -z {taken.commit}")).split("\0")
        assert {"ok", "link", "nested", "-n", "a\nb\x1b", ":(top)x"} <= set(names)
        assert not {"huge", "pipe", "shut"} & set(names)
    assert "huge" not in await shop.repository.diff("fix")
    await shop.repository.rewind("fix", taken.number)
    assert "huge" in await shop.work("ls")


async def test_a_broken_index_does_not_keep_files_from_being_saved(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo garbage >$(git rev-parse --git-path index); echo x >x")
    taken = await shop.repository.checkpoint("fix", "x")
    assert await shop.work(f"git ls-tree --name-only {taken.commit}") == ".gitignore\nREADME\nsrc\nx\n"


async def test_a_lock_left_by_a_killed_git_holds_nothing_up(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "echo x >x; d=$(git rev-parse --git-dir); touch $d/index.lock $d/rdev.index.lock; mkdir $d/rdev.index"
    )
    await shop.repository.checkpoint("fix", "x")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0")


async def test_a_change_in_the_same_moment_as_the_index_is_not_missed(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "git config core.trustctime false; echo one >x; touch -d @1700000000 x; git add x; echo two >x;"
        "touch -d @1700000000 x $(git rev-parse --git-path index)"
    )
    taken = await shop.repository.checkpoint("fix", "x")
    assert await shop.work(f"git show {taken.commit}:x") == "two\n"


async def test_hooks_and_watchers_of_the_repository_do_not_run_for_us(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "d=/workspace/repo/.git/hooks; mkdir -p $d; "
        "for h in pre-commit post-commit commit-msg prepare-commit-msg post-index-change reference-transaction "
        "post-checkout pre-push fsmonitor; "
        "do printf '#!/bin/sh\\ntouch /workspace/ran-%s; exit 1\\n' $h >$d/$h; chmod +x $d/$h; done; "
        "git config core.fsmonitor $d/fsmonitor; echo x >x"
    )
    taken = await shop.repository.checkpoint("fix", "x")
    await shop.work("echo y >y")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0")
    await shop.repository.push("fix")
    await shop.repository.rewind("fix", taken.number)
    assert "ran-" not in await shop.backend.sh("ls /workspace")
    await shop.work("git add -A || :; git commit -qm x || :")
    assert "ran-" in await shop.backend.sh("ls /workspace")


# --- commits ---------------------------------------------------------------------------------------------------


async def test_a_turns_changes_become_a_commit_that_names_actor_and_job(shop: Workshop) -> None:
    worktree = await shop.repository.open_worktree("fix")
    await shop.work("echo x >x; rm README; echo i >i.log")
    commit = await shop.repository.commit("fix", "fix it\nplease", TRAILERS, "discord:12")
    assert commit
    assert (commit.branch, commit.stat) == ("rdev/fix", "2 files changed, 1 insertion(+), 1 deletion(-)")
    assert await shop.work("git log -1 --format='%H %P%n%an <%ae> %cn%n%B'") == (
        f"{commit.commit} {worktree.base}\ndiscord:12 <discord-12@users.rdev.invalid> rdev\n"
        "fix it\n\nRdev-Actor: local:0\nRdev-Job: job-1\n\n"
    )
    assert (
        await shop.work("git status --short; git log -1 --format='%(trailers:key=Rdev-Job,valueonly)'") == "job-1\n\n"
    )


async def test_nothing_changed_is_no_commit(shop: Workshop) -> None:
    worktree = await shop.repository.open_worktree("fix")
    await shop.work("touch README; echo i >i.log")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0") is None
    assert await shop.work("git rev-parse HEAD") == f"{worktree.base}\n"


async def test_a_job_commits_once(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo x >x")
    first = await shop.repository.commit("fix", "x", TRAILERS, "local:0")
    await shop.work("echo late >late")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0") == first
    other = await shop.repository.commit("fix", "x", TRAILERS | {"Rdev-Job": "job-10"}, "local:0")
    assert other and other != first
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0") == first


async def test_what_claude_committed_stays_as_it_is(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo x >x; git add x; git commit -qm mine")
    assert await shop.repository.commit("fix", "x", TRAILERS, "local:0") is None
    await shop.work("echo y >y")
    assert await shop.repository.commit("fix", "rest", TRAILERS, "local:0")
    assert await shop.work("git log -3 --format=%s") == "rest\nmine\nfirst\n"


async def test_a_commit_stays_in_the_submodules_superproject(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work(
        "git init -q /workspace/other; git -C /workspace/other commit -q --allow-empty -m x;"
        "git -c protocol.file.allow=always submodule add -q /workspace/other sub;"
        "git -C sub commit -q --allow-empty -m y"
    )
    commit = await shop.repository.commit("fix", "sub", TRAILERS, "local:0")
    assert commit
    assert await shop.work("git ls-tree HEAD sub; git -C sub rev-parse HEAD") != ""
    assert (await shop.work("git ls-tree HEAD sub | cut -c 15-54")) == await shop.work("git -C sub rev-parse HEAD")
    assert not (await shop.repository.push("fix")).nothing_new


# --- changes, diff, rewind -------------------------------------------------------------------------------------


async def test_changes_are_counted_since_the_base_and_since_the_job_began(shop: Workshop) -> None:
    await shop.worked()
    _, before = await shop.repository.begin("fix", "turn 2")
    await shop.work("echo x >x; echo y >y; git add x")
    changes = await shop.repository.changes("fix", before.commit)
    assert changes.since_base == "3 files changed, 3 insertions(+)"
    assert changes.since == "2 files changed, 2 insertions(+)"
    assert changes.branch == "rdev/fix"
    shop.colleague("b.txt", "b\n")
    await shop.repository.fetch()
    assert (await shop.repository.changes("fix")).since_base == changes.since_base
    with pytest.raises(ValueError, match="no commit"):
        await shop.repository.changes("fix", "--output=/workspace/x")


async def test_a_diff_shows_what_the_session_did_and_no_other(shop: Workshop) -> None:
    await shop.worked()
    checkpoint = await shop.repository.checkpoint("fix", "x")
    await shop.work("printf 'a\\033[2Jb\\n' >untracked; git config diff.external 'touch /workspace/ran'")
    shown = await shop.repository.diff("fix")
    assert "+++ b/new.txt" in shown
    assert "+a\ufffd[2Jb" in shown
    assert "new.txt" not in await shop.repository.diff("fix", checkpoint.number)
    assert "ran" not in await shop.backend.sh("ls /workspace")
    with pytest.raises(RepositoryError, match="no checkpoint 99"):
        await shop.repository.diff("fix", 99)


async def test_a_long_diff_is_cut_and_says_so(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("seq 1000000 >many")
    shown = await shop.repository.diff("fix")
    assert len(shown) < 1_100_000
    assert shown.endswith("[cut after 1048576 bytes]\n")


async def test_rewinding_puts_files_back_and_moves_neither_head_nor_index(shop: Workshop) -> None:
    await shop.worked()
    await shop.work("echo draft >draft; mkdir d; echo 1 >d/f; chmod +x d/f")
    then = await shop.repository.checkpoint("fix", "good")
    await shop.work(
        "rm -rf draft d README; echo d >d; mkdir e; echo e >e/e; echo changed >new.txt; echo i >i.log; git add -A"
    )
    state = await shop.work(_STATE)
    safety = await shop.repository.rewind("fix", then.number)
    assert safety.number == then.number + 1
    assert await shop.work(_STATE) == state
    assert (
        await shop.work("ls; cat draft d/f new.txt; test -x d/f")
        == "README\nd\ndraft\ni.log\nnew.txt\nsrc\ndraft\n1\nwork\n"
    )
    assert await shop.repository.diff("fix", then.number) == ""
    await shop.repository.rewind("fix", safety.number)
    assert await shop.work("cat d e/e new.txt") == "d\ne\nchanged\n"


async def test_rewinding_to_nowhere_changes_nothing(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("echo x >x")
    with pytest.raises(RepositoryError, match="no checkpoint 7"):
        await shop.repository.rewind("fix", 7)
    assert await shop.work("cat x") == "x\n"


# --- push ------------------------------------------------------------------------------------------------------


async def test_a_push_brings_the_sessions_branch_and_nothing_else(shop: Workshop) -> None:
    before = shop.remote_refs()
    commit = await shop.worked()
    await shop.work("git tag mine; git branch other; git update-ref refs/notes/x HEAD")
    result = await shop.repository.push("fix")
    assert (result.commit, result.branch, result.nothing_new) == (commit, "rdev/fix", False)
    assert shop.remote_refs() == before | {"refs/heads/rdev/fix": commit}


async def test_a_second_push_says_that_there_is_nothing_new(shop: Workshop) -> None:
    await shop.worked()
    await shop.repository.push("fix")
    assert (await shop.repository.push("fix")).nothing_new
    git(shop.remote, "update-ref", "-d", "refs/heads/rdev/fix")
    await shop.repository.fetch()
    assert (await shop.repository.push("fix")).nothing_new


async def test_a_session_that_did_nothing_pushes_nothing(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    assert (await shop.repository.push("fix")).nothing_new
    assert list(shop.remote_refs()) == ["refs/heads/main"]


async def test_a_push_brings_only_what_is_new(shop: Workshop) -> None:
    await shop.repository.open_worktree("fix")
    await shop.work("head -c 2000000 /dev/urandom >big; git add -A; git commit -qm big")
    await shop.repository.push("fix")
    await shop.worked()
    shop.backend.said = 0
    await shop.repository.push("fix")
    assert shop.backend.said < 5000


async def test_rewritten_commits_of_ours_are_pushed_again(shop: Workshop) -> None:
    await shop.worked()
    await shop.repository.push("fix")
    await shop.work("git commit -q --amend -m better")
    assert not (await shop.repository.push("fix")).nothing_new
    assert git(shop.remote, "log", "-2", "--format=%s", "rdev/fix") == "better\nfirst"
    await shop.work("git reset -q --hard HEAD~")
    assert not (await shop.repository.push("fix")).nothing_new
    assert git(shop.remote, "log", "-1", "--format=%s", "rdev/fix") == "first"


async def test_a_colleagues_commits_on_our_branch_are_never_overwritten(shop: Workshop) -> None:
    await shop.worked()
    await shop.repository.push("fix")
    theirs = shop.colleague("review.txt", "r\n", branch="rdev/fix")
    await shop.worked("fix", "more.txt")
    await shop.work("echo z >z; git add z; git commit -qm z")
    with pytest.raises(RepositoryError, match="somebody else pushed to rdev/fix"):
        await shop.repository.push("fix")
    assert shop.remote_refs()["refs/heads/rdev/fix"] == theirs
    await shop.repository.fetch()
    await shop.work("git merge -q -m merge origin/rdev/fix")
    assert not (await shop.repository.push("fix")).nothing_new
    assert theirs in git(shop.remote, "log", "--format=%H", "rdev/fix")


async def test_a_push_that_was_not_written_down_is_found_again(shop: Workshop) -> None:
    commit = await shop.worked()
    await shop.repository.push("fix")
    git(shop.backend.guarded / "repo.git", "update-ref", "-d", "refs/rdev/pushed/fix")
    git(shop.backend.guarded / "repo.git", "update-ref", "-d", "refs/remotes/origin/rdev/fix")
    assert (await shop.repository.push("fix")).commit == commit
    assert shop.remote_refs()["refs/heads/rdev/fix"] == commit


async def test_what_the_remote_refuses_is_told_in_its_words(shop: Workshop) -> None:
    hook = shop.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'sign your commits' >&2\nexit 1\n")
    hook.chmod(0o755)
    await shop.worked()
    with pytest.raises(RepositoryError, match=r"sign your commits(.|\n)*pre-receive hook declined"):
        await shop.repository.push("fix")
    hook.unlink()
    assert not (await shop.repository.push("fix")).nothing_new


async def test_a_protected_branch_is_never_pushed_to(tmp_path: Path) -> None:
    shop = workshop(tmp_path, protected=["main", "rdev/re*"])
    await shop.worked("release")
    with pytest.raises(RepositoryError, match="protects rdev/release"):
        await shop.repository.push("release")
    assert list(shop.remote_refs()) == ["refs/heads/main"]


async def test_work_on_main_is_pushed_to_the_sessions_branch(shop: Workshop) -> None:
    before = shop.remote_refs()
    await shop.repository.open_worktree("fix")
    await shop.work("git checkout -q -b main; echo x >x; git add x; git commit -qm x")
    result = await shop.repository.push("fix")
    assert shop.remote_refs() == before | {"refs/heads/rdev/fix": result.commit}


async def test_looking_at_another_branch_does_not_take_work_back(shop: Workshop) -> None:
    commit = await shop.worked()
    await shop.repository.push("fix")
    await shop.work("git checkout -q --detach origin/main")
    assert (await shop.repository.push("fix")).nothing_new
    assert shop.remote_refs()["refs/heads/rdev/fix"] == commit


async def test_a_closed_sessions_pushes_are_forgotten(shop: Workshop) -> None:
    await shop.worked()
    await shop.repository.push("fix")
    await shop.repository.close_worktree("fix")
    assert git(shop.backend.guarded / "repo.git", "for-each-ref", "refs/rdev") == ""


async def test_a_session_name_that_leads_elsewhere_is_refused(shop: Workshop) -> None:
    with pytest.raises(ValueError, match="cannot name a session"):
        await shop.repository.open_worktree("../../etc")
    with pytest.raises(ValueError, match="cannot name a session"):
        await shop.repository.push("x:refs/heads/main")
