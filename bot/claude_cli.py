"""Which Claude Code CLI runs: the pinned one that is installed with rdev, or the one the configuration names."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from bot.config import Claude

PINNED = "2.1.329"
"""The version that the recorded exchanges were made with."""


def bundled() -> Path:
    """The CLI inside the installed claude-agent-sdk, which is not imported: that would take half a second."""
    return Path(sysconfig.get_path("platlib")) / "claude_agent_sdk" / "_bundled" / "claude"


def executable(settings: Claude) -> Path:
    """The program that sandboxes run."""
    return settings.path or bundled()
