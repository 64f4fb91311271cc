"""What every git of ours is told, on either side of the fence."""

from __future__ import annotations

from collections.abc import Mapping

# gc in the foreground: a process left behind would be killed with the exec, or hold the sandbox open.
# The threshold at git's default: a lower one would have patches shown as binary.
QUIET = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "512m",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "protocol.ext.allow": "never",
    "gc.autoDetach": "false",
    "init.defaultBranch": "main",
}


def exported(settings: Mapping[str, str]) -> str:
    """A line of sh that sets git's configuration above every file, also for the commands that git itself starts."""
    pairs = " ".join(
        f"GIT_CONFIG_KEY_{i}={key} GIT_CONFIG_VALUE_{i}='{value}'" for i, (key, value) in enumerate(settings.items())
    )
    return f"export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT={len(settings)} {pairs}\n"


# Standard input: lines `<object> ` for what is wanted and `<object> ^` for what is there already. What this
# repository does not know is passed over, where pack-objects would give up.
REVISIONS = "git cat-file --batch-check='%(rest)%(objectname)' | sed '/ /d'"
PACK = "git pack-objects --revs --thin --stdout -q --delta-base-offset"
