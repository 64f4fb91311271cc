"""The guarded repository: ours alone, outside the sandbox, and the only one that meets the remote with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from executor.backend import Container
from executor.git import parse_refs
from executor.git_settings import PACK, QUIET, REVISIONS, exported
from executor.script import Running, Script, Shell

PUSH_BYTES = 2 << 30
"""The most that one push may bring out of the sandbox."""
_MEMORY_KIB = 4 << 20
"""What checking a pack may take of memory: a small pack can describe objects of any size."""

_ENTER = (
    """set -euf
unset GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR \
  GIT_NAMESPACE GIT_CONFIG_PARAMETERS GIT_CONFIG GIT_ASKPASS SSH_ASKPASS GIT_PROXY_COMMAND GIT_PROTOCOL_FROM_USER
"""
    + exported(
        QUIET
        | {
            "credential.helper": "",
            "core.askPass": "",
            # Larger objects are streamed where they are checked, not held in memory.
            "core.bigFileThreshold": "32m",
            "core.packedGitWindowSize": "64m",
            "core.packedGitLimit": "512m",
            "push.gpgSign": "false",
            "push.recurseSubmodules": "no",
            "transfer.fsckObjects": "true",
        }
    )
    + """export GIT_DIR="$PWD/repo.git" GIT_CONFIG_GLOBAL="$PWD/gitconfig" GIT_CONFIG_NOSYSTEM=1
export GIT_ALLOW_PROTOCOL=https:ssh:file GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -o BatchMode=yes}"
"""
)

# Old histories hold objects that today's checks refuse: what the team's own remote serves is taken as it is.
# A path on this machine may belong to somebody else, which git would refuse to read.
_FETCH = Script(
    "fetch from the remote",
    _ENTER
    + """if ! [ -d "$GIT_DIR" ]; then
  rm -rf "$GIT_DIR.new"
  printf '[safe]\\n\\tdirectory = *\\n' >"$GIT_CONFIG_GLOBAL"
  git --git-dir="$GIT_DIR.new" init -q --bare --template=
  mv "$GIT_DIR.new" "$GIT_DIR"
fi
git -c transfer.fsckObjects=false fetch --quiet --prune --no-tags --no-write-fetch-head -- "$1" \
  '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
head=
if [ "$2" ]; then
  head=$(git ls-remote --symref -- "$1" HEAD | sed -n 's,^ref: refs/heads/\\(.*\\)\\tHEAD$,\\1,p')
fi
echo "head $head"
git for-each-ref --format='%(objectname) %(refname)' refs/remotes/origin refs/tags
""",
    Container.GIT,
    seconds=3600,
    output=32 << 20,
)
_REFS = Script(
    "look into the guarded repository",
    _ENTER
    + """[ -d "$GIT_DIR" ] || { echo "the repository was never fetched" >&2; exit 1; }
git for-each-ref --format='%(objectname) %(refname)' refs/remotes/origin refs/rdev
""",
    Container.GIT,
    output=32 << 20,
)
_PACK = Script(
    "bring the remote's changes into the sandbox",
    f"{_ENTER}{REVISIONS} | {PACK}\n",
    Container.GIT,
    seconds=3600,
)
# $1 is the session, $2 the commit as the sandbox names it, $3 the remote, $4 how large a pack may be, empty for none.
# As a server does with a stranger's push: into quarantine, every object checked, nothing missing; only then is it ours.
_PUSH = Script(
    "push to the remote",
    _ENTER
    + f"""name=$1 tip=$2 url=$3 branch=rdev/$1 waiting=$PWD/incoming/$1
trap 'rm -rf "$waiting"' EXIT
rm -rf "$waiting"; mkdir -p "$waiting/pack"
export GIT_OBJECT_DIRECTORY="$waiting" GIT_ALTERNATE_OBJECT_DIRECTORIES="$GIT_DIR/objects"
(
  ulimit -v {_MEMORY_KIB}
  if [ "$4" ]; then git index-pack --stdin --fix-thin --strict --threads=2 --max-input-size="$4" >/dev/null; fi
  [ "$(git cat-file -t "$tip")" = commit ]
  git rev-list --objects --quiet "$tip" --not --all
)
unset GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
for kind in pack rev idx; do
  find "$waiting/pack" -name "*.$kind" -exec mv -f '{{}}' "$GIT_DIR/objects/pack/" ';'
done
"""
    + """last=$(git rev-parse -q --verify "refs/rdev/pushed/$name") || last=
if [ "$last" = "$tip" ]; then echo nothing; exit; fi
if ! [ "$last" ] && ! [ "$(git rev-list -n 1 "$tip" --not --remotes=origin)" ]; then echo nothing; exit; fi
git update-ref "refs/rdev/out/$name" "$tip"
push() {
  git push --quiet --porcelain --no-verify --no-follow-tags --recurse-submodules=no --no-signed \
    --force-with-lease="refs/heads/$branch:$1" -- "$url" "$tip:refs/heads/$branch" </dev/null
}
if ! said=$(push "$last"); then
  case $said in *"(stale info)"*) ;; *) printf '%s\\n' "$said" >&2; exit 1;; esac
  # Somebody else wrote to the branch, or we did and died: fine where what is there is part of what is pushed.
  git fetch --quiet --no-tags --no-write-fetch-head -- "$url" "+refs/heads/$branch:refs/remotes/origin/$branch"
  now=$(git rev-parse "refs/remotes/origin/$branch")
  if ! git merge-base --is-ancestor "$now" "$tip"; then
    echo "somebody else pushed to $branch; bring their commits in first: pull origin $branch" >&2; exit 1
  fi
  push "$now" >&2
fi
git update-ref "refs/rdev/pushed/$name" "$tip"
git update-ref "refs/remotes/origin/$branch" "$tip"
echo pushed
""",
    Container.GIT,
    seconds=1800,
)
_FORGET = Script(
    "forget the session's pushes",
    _ENTER
    + """[ -d "$GIT_DIR" ] || exit 0
printf 'delete %s\\n' "refs/rdev/out/$1" "refs/rdev/pushed/$1" | git update-ref --stdin
""",
    Container.GIT,
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The remote as it was fetched: ref → object name, and its HEAD's branch where that was asked."""

    refs: dict[str, str]
    head: str = ""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A project's guarded repository, reached through exec on the git side."""

    shell: Shell
    url: str
    push_bytes: int = PUSH_BYTES

    async def fetch(self, *, ask_head: bool) -> Fetched:
        """Fetch every branch and tag of the remote, making the repository on first use."""
        first, *rest = (await self.shell.run(_FETCH, self.url, "head" if ask_head else "")).lines()
        return Fetched(parse_refs(rest), first.removeprefix("head "))

    async def known(self) -> frozenset[str]:
        """The objects that are there for certain: the remote's branches and what sessions pushed."""
        return frozenset(parse_refs((await self.shell.run(_REFS)).lines()).values())

    @asynccontextmanager
    async def pack(self, want: Iterable[str], have: Iterable[str]) -> AsyncIterator[Running]:
        """What writes a pack of what is wanted beyond what is there."""
        async with self.shell.start(_PACK) as running:
            await running.feed(revisions(want, have))
            yield running

    def push(self, session: str, tip: str, *, packed: bool) -> AbstractAsyncContextManager[Running]:
        """What takes a pack, checks it and pushes the commit; it says `pushed` or `nothing`."""
        return self.shell.start(_PUSH, session, tip, self.url, str(self.push_bytes) if packed else "")

    async def forget(self, session: str) -> None:
        """Drop what is remembered of a session's pushes."""
        await self.shell.run(_FORGET, session)


def revisions(want: Iterable[str], have: Iterable[str]) -> bytes:
    """The lines that say what a pack shall hold."""
    return "".join([*(f"{name} \n" for name in want), *(f"{name} ^\n" for name in have)]).encode()
