"""How objects cross the fence between the sandbox's repository and the guarded one: as packs, streamed."""

from __future__ import annotations

from collections.abc import Mapping

from executor.git import ORIGIN
from executor.git_settings import PACK, REVISIONS
from executor.script import Running, Script
from executor.worktree_shell import BOX, ENTER

CHUNK = 1 << 18
"""Bytes of a pack in flight at once."""

# What the agent checked out counts where it goes on from the session's branch; else the branch itself.
GIVE = Script(
    "take the session's commits out of the sandbox",
    ENTER
    + f"""here
tip=$(commit "refs/heads/$branch") || tip=$h
if [ "$h" ] && git merge-base --is-ancestor "$tip" "$h"; then tip=$h; fi
[ "$tip" ] || {{ echo "the session has no commits yet" >&2; exit 1; }}
echo "$tip"
{{ echo "$tip "; cat; }} | {REVISIONS} >"$admin/rdev.revs"
if [ "$(git rev-list -n 1 --stdin <"$admin/rdev.revs")" ]; then {PACK} <"$admin/rdev.revs"; fi
""",
    seconds=900,
)

# $1 is the remote's address, for people to see. A repository that git cannot open is put aside and made anew.
HAVE = Script(
    "look into the sandbox's repository",
    BOX
    + """export GIT_DIR="$repo"
sound() {
  [ -d "$repo" ] && ! [ -L "$repo" ] && ! [ -L "$top" ] && git rev-parse --git-dir && {
    ! at=$(git rev-parse -q --verify refs/rdev/base) || git cat-file -e "$at"
  }
}
if ! sound >/dev/null 2>&1; then
  if [ -e "$top" ] || [ -L "$top" ]; then
    chmod -R u+rwX "$top.broken" 2>/dev/null || :
    rm -rf "$top.broken"
    mv "$top" "$top.broken"
  fi
  mkdir -p "$repo"
  git init -q --bare "$repo"
  git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
fi
if [ "$(git config --get remote.origin.url)" != "$1" ]; then git config --replace-all remote.origin.url "$1"; fi
echo "base $(git symbolic-ref -q refs/rdev/base || :)"
git for-each-ref --format='%(objectname) %(refname)' refs/remotes/origin refs/tags
""",
    output=32 << 20,
)
# $1 is the base branch. Standard input: the length of the list of refs, the list for update-ref, a pack.
TAKE = Script(
    "bring the remote's changes into the sandbox",
    BOX
    + """export GIT_DIR="$repo"
IFS= read -r size
head -c "$size" >"$repo/rdev.refs"
git index-pack --stdin --fix-thin >/dev/null
git symbolic-ref --delete refs/remotes/origin/HEAD 2>/dev/null || :
git update-ref --stdin <"$repo/rdev.refs" >/dev/null
if [ "$1" ]; then
  git symbolic-ref refs/rdev/base "refs/remotes/origin/$1"
  git symbolic-ref refs/remotes/origin/HEAD "refs/remotes/origin/$1"
fi
rm -f "$repo/rdev.refs"
git gc --auto --quiet || :
""",
    seconds=3600,
)


async def carry(source: Running, sink: Running, first: bytes = b"", *, limit: int | None = None) -> None:
    """Stream a pack; its end is only told to the sink once the source ended well."""
    size, part = 0, first or await source.process.read(CHUNK)
    while part:
        size += len(part)
        if limit is not None and size > limit:
            raise sink.script.failed(1, f"more than {limit} bytes of new objects")
        await sink.feed(part, last=False)
        part = await source.process.read(CHUNK)
    await source.ended()
    await sink.feed(b"")


def mirrored(refs: Mapping[str, str]) -> dict[str, str]:
    return {ref: name for ref, name in refs.items() if ref != f"{ORIGIN}HEAD"}


def updates(new: Mapping[str, str], old: Mapping[str, str]) -> bytes:
    """What update-ref has to do; the sandbox's own tags stay."""
    gone = [ref for ref in old if ref not in new and ref.startswith(ORIGIN)]
    changed = [(ref, name) for ref, name in new.items() if old.get(ref) != name]
    if not gone and not changed:
        return b""
    # Two transactions: a name may become free for a name below it.
    lines = ["start", *(f"delete {ref}" for ref in gone), "commit"]
    lines += ["start", *(f"update {ref} {name}" for ref, name in changed), "commit", ""]
    return "\n".join(lines).encode("utf-8", "surrogateescape")
