"""What the sandbox's sh scripts are made of: where they stand, how they repair a worktree, how they save its files.

Nothing of the agent's is trusted to be what git left there: GIT_DIR names the repository, so that a replaced `.git`
leads nowhere else, and what is printed is parsed as a stranger's.
"""

from __future__ import annotations

from executor.git_settings import QUIET, exported

REPOSITORY = "/workspace/repo"
WORKTREES = "/workspace/worktrees"
BIG_FILE = 100 << 20
"""Bytes; a changed file that is larger stays out of checkpoints and commits, as git's hosts would refuse it."""
CHECKPOINTS = 200
"""How many of a session's checkpoints are kept, and how many deleted sessions' last states."""

BOX = (
    "set -euf\n"
    + exported(QUIET | {"advice.addEmbeddedRepo": "false", "diff.ignoreSubmodules": "dirty", "core.safecrlf": "false"})
    + f"""export GIT_OPTIONAL_LOCKS=0 GIT_LFS_SKIP_SMUDGE=1
export GIT_COMMITTER_NAME=rdev GIT_COMMITTER_EMAIL=rdev@localhost
top={REPOSITORY} repo={REPOSITORY}/.git
"""
)

SESSION = (
    BOX
    + f"""name=$1 branch=rdev/$1
admin=$repo/worktrees/$name tree={WORKTREES}/$name
export GIT_DIR="$admin" GIT_WORK_TREE="$tree"
commit() {{ git rev-parse -q --verify "$1^{{commit}}" 2>/dev/null; }}
here() {{ h=$(commit HEAD) || h=; }}
base() {{
  b=$(commit refs/rdev/base) || b=
  if [ "$b" ] && [ "$h" ]; then b=$(git merge-base "$h" "$b") || b=; fi
  [ "$b" ] || b=$(git hash-object -t tree /dev/null)
}}
"""
)

ENTER = (
    SESSION
    + """if ! [ -f "$admin/HEAD" ] || ! cd "$tree"; then
  echo "the session's worktree is gone; it comes back when its next job starts" >&2; exit 1
fi
"""
)

# By hand where `git worktree add` would do, because this also repairs: whatever part is missing or was replaced is
# put back, files of the session that are still there are kept, and the names are always the same.
REPAIR = """open() {
  [ -d "$admin" ] || git --git-dir="$repo" rev-parse -q --verify "refs/heads/$branch" >/dev/null 2>&1 ||
    [ "$1" ] || return 0
  [ -d "$admin" ] || { rm -rf "$admin"; mkdir -p "$admin"; }
  [ -d "$tree" ] && ! [ -L "$tree" ] || { rm -rf "$tree" "$admin/index"; mkdir -p "$tree"; }
  cd "$tree"
  link=; if [ -f .git ] && ! [ -L .git ]; then IFS= read -r link <.git || :; fi
  if [ "$link" != "gitdir: $admin" ] || ! [ -f "$admin/commondir" ]; then
    rm -rf "$admin/replaced"
    if [ -e .git ] || [ -L .git ]; then mv .git "$admin/replaced"; fi
    echo "gitdir: $admin" >.git
    echo "$tree/.git" >"$admin/gitdir"
    echo ../.. >"$admin/commondir"
  fi
  # One git for three answers where all is well, which it nearly always is.
  if set -- $(git rev-parse 'HEAD^{commit}' 'refs/rdev/base^{commit}' --symbolic-full-name HEAD 2>/dev/null) &&
    [ $# = 3 ]; then
    h=$1 b=$2 on=${3#refs/heads/}
    [ "$h" = "$b" ] || b=$(git merge-base "$h" "$b") || base
  else
    here
    [ "$h" ] || start
    base
    on=$(git symbolic-ref -q --short HEAD) || on=
  fi
  [ -f "$admin/index" ] || fill
  echo "open $b $on"
}
start() {
  rm -rf "$admin/HEAD"
  echo "ref: refs/heads/$branch" >"$admin/HEAD"
  here
  [ -z "$h" ] || return 0
  for from in "refs/remotes/origin/$branch" refs/rdev/base; do
    h=$(commit "$from") || { h=; continue; }
    rm -rf "$repo/refs/heads/$branch" "$repo/refs/heads/$branch.lock"
    git update-ref "refs/heads/$branch" "$h"
    git config "branch.$branch.remote" origin || :
    git config "branch.$branch.merge" "$(git symbolic-ref refs/rdev/base | sed s,^refs/remotes/origin,refs/heads,)" || :
    return 0
  done
  # Only a sound repository that never had a base may be without one.
  git rev-parse --git-dir >/dev/null
  if git symbolic-ref -q refs/rdev/base; then echo "the base branch is damaged" >&2; exit 1; fi
}
fill() {
  [ "$h" ] || return 0
  if [ "$(ls -A | head -n 2)" = .git ]; then git read-tree --reset -u HEAD; else git read-tree HEAD; fi
}
"""

# In a copy of the index that is as old as the agent's own, or git would miss changes of the same moment. A file that
# cannot be read, a nested repository or a broken index must not keep the rest from being saved.
SNAPSHOT = f"""stage() {{
  git ls-files -z --others --modified --exclude-standard |
    find -files0-from - -maxdepth 0 -type f -size +{BIG_FILE}c -printf ':(exclude,top,literal)%p\\0' \
    >"$admin/rdev.big" 2>/dev/null || :
  if [ -s "$admin/rdev.big" ]; then
    {{ printf ':/\\0'; cat "$admin/rdev.big"; }} | git add -A --ignore-errors --pathspec-from-file=- --pathspec-file-nul
  else
    git add -A --ignore-errors
  fi || [ $? = 1 ]
}}
snapshot() {{
  x=$admin/rdev.index
  rm -rf "$x" "$x.lock" "$admin/rdev.big"
  if [ -f "$admin/index" ]; then cp -p "$admin/index" "$x"; fi
  export GIT_INDEX_FILE="$x"
  stage 2>/dev/null && t=$(git write-tree 2>/dev/null) || {{
    rm -rf "$x" "$x.lock"
    if [ "$h" ]; then git read-tree HEAD; fi
    stage
    t=$(git write-tree)
  }}
  unset GIT_INDEX_FILE
}}
checkpoint() {{
  set -- "$1" $(git for-each-ref --count=1 --sort=-version:refname \
    --format='%(refname:lstrip=4) %(objectname) %(tree) %(parent)' "refs/rdev/checkpoints/$name/[0-9]*")
  n=${{2:-0}}
  case $n in *[!0-9]*|?????????*) n=0;; esac
  if [ $# -gt 1 ] && [ "${{4-}} ${{5-}}" = "$t $h" ]; then echo "checkpoint $n $3"; return; fi
  n=$((n+1))
  c=$(printf '%s\\n' "$1" | GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost git commit-tree "$t" ${{h:+-p "$h"}})
  {{
    echo "create refs/rdev/checkpoints/$name/$n $c"
    if [ $n -gt {CHECKPOINTS} ]; then echo "delete refs/rdev/checkpoints/$name/$((n-{CHECKPOINTS}))"; fi
  }} | git update-ref --stdin
  echo "checkpoint $n $c"
}}
"""
