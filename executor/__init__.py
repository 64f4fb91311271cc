"""Run jobs in boxes: knows sandboxes, git and Claude Code, and nothing of chat."""
