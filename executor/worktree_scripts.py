"""The sh scripts that run in the sandbox on a session's worktree, each in one exec; `$1` is the session."""

from __future__ import annotations

from dataclasses import replace

from executor.script import Script
from executor.worktree_shell import CHECKPOINTS, ENTER, REPAIR, SESSION, SNAPSHOT

# $2 not empty: make the branch where there is none yet. $3 not empty: take a checkpoint, too.
OPEN = Script(
    "open the session's worktree",
    SESSION + REPAIR + SNAPSHOT + 'open "$2"\nif [ "$3" ] && [ "${b-}" ]; then snapshot; checkpoint "$3"; fi\n',
    seconds=180,
)
MAKE = replace(OPEN, seconds=1800)
CHECKPOINT = Script("take a checkpoint", ENTER + SNAPSHOT + 'here; snapshot; checkpoint "$2"\n')
LIST = Script(
    "list the checkpoints",
    SESSION
    + """git --git-dir="$repo" for-each-ref --sort=version:refname \
--format='%(refname:lstrip=4) %(objectname) %(committerdate:unix) %(contents:subject)' \
"refs/rdev/checkpoints/$name/[0-9]*"
""",
    output=4 << 20,
)
_TREE_OF_CHECKPOINT = """$(git rev-parse -q --verify "refs/rdev/checkpoints/$name/$2^{tree}") ||
  { echo "the session has no checkpoint $2" >&2; exit 1; }
"""
REWIND = Script(
    "rewind to the checkpoint",
    ENTER
    + SNAPSHOT
    + f"""to={_TREE_OF_CHECKPOINT}
here; snapshot; checkpoint "$3"
GIT_INDEX_FILE=$x git read-tree --reset -u "$to"
""",
    seconds=600,
)
# $2 is the job, $3 and $4 the author. HEAD moves only from where it was read.
COMMIT = Script(
    "commit the turn's changes",
    ENTER
    + SNAPSHOT
    + """message=$(cat)
for mark in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD rebase-merge rebase-apply; do
  if [ -e "$admin/$mark" ]; then echo "unfinished $mark"; exit; fi
done
here; c=
if [ "$h" ]; then
  b=$(commit refs/rdev/base) || b=
  c=$(git rev-list -n 1 --grep="^Rdev-Job: $2\\$" "$h" ${b:+"^$b"})
fi
if ! [ "$c" ]; then
  snapshot
  if [ "$t" = "$(git rev-parse "${h:-$(git hash-object -t tree /dev/null)}^{tree}")" ]; then echo clean; exit; fi
  c=$(printf '%s\\n' "$message" | GIT_AUTHOR_NAME=$3 GIT_AUTHOR_EMAIL=$4 git commit-tree "$t" ${h:+-p "$h"})
  git update-ref -m "rdev: the turn's changes" HEAD "$c" "$h"
  mv -f "$x" "$admin/index"
fi
echo "commit $c $(git symbolic-ref -q --short HEAD || :)"
git diff-tree -r --root --no-commit-id --shortstat --no-ext-diff --no-textconv "$c"
""",
    output=1 << 16,
)
CHANGES = Script(
    "compare the session's files",
    ENTER
    + SNAPSHOT
    + """stat() { printf 'stat%s\\n' "$(git diff-tree -r -M --shortstat --no-ext-diff --no-textconv "$1" "$t")"; }
here; base; snapshot
echo "head $h $(git symbolic-ref -q --short HEAD || :)"
stat "$b"
stat "${2:-$t}"
""",
    output=1 << 16,
)
DIFF = Script(
    "compare the session's files",
    ENTER
    + SNAPSHOT
    + f"""here; base
if [ "$2" ]; then b={_TREE_OF_CHECKPOINT}
fi
snapshot
git diff-tree -r -p -M --no-color --no-ext-diff --no-textconv "$b" "$t"
""",
    output=1 << 20,
)
CLOSE = Script(
    "remove the session's worktree",
    SESSION
    + SNAPSHOT
    + f"""[ -d "$repo" ] || exit 0
keep() {{
  [ -f "$admin/HEAD" ] && cd "$tree" || return 0
  here; snapshot
  last=$(echo 'the last state of a deleted session' |
    GIT_AUTHOR_NAME=rdev GIT_AUTHOR_EMAIL=rdev@localhost git commit-tree "$t" ${{h:+-p "$h"}})
  git update-ref "refs/rdev/closed/$name" "$last"
}}
(keep) || :
cd /workspace
export GIT_DIR="$repo"; unset GIT_WORK_TREE
chmod -R u+rwX "$tree" 2>/dev/null || :
rm -rf "$tree" "$admin"
{{
  git for-each-ref --format='delete %(refname)' "refs/rdev/checkpoints/$name/"
  echo "delete refs/heads/$branch"
  git for-each-ref --sort=-committerdate --format='delete %(refname)' refs/rdev/closed | sed 1,{CHECKPOINTS}d
}} | git update-ref --stdin
git config --remove-section "branch.$branch" 2>/dev/null || :
git gc --auto --quiet || :
""",
    seconds=900,
)
