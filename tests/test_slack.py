"""rdev on Slack: the real slack-bolt, the real service and sandbox, and a Slack on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fake_slack import FakeSlack
from slack_lab import CHANNEL, lab
from world import git

STORY = {
    "fix": [
        [{"say": "I look at it **first**. "}, {"tool": "Bash", "input": {"command": "echo fixed > fix.txt"}}],
        {"ask": [{"question": "Which way?", "options": ["Short", "Long"]}]},
        {"say": "It goes the way you said: $RESULT", "pace": 0.02},
    ],
    "again": [{"say": "I did it again."}],
    "slow": [{"tool": "Bash", "input": {"command": "echo half > half.txt; sleep 600"}}],
}


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


async def test_story_goes_from_a_command_to_a_push_and_a_stop(tmp_path: Path, slack: FakeSlack) -> None:
    async with lab(tmp_path, STORY, slack=slack, push="auto") as w:
        root = await w.work("fix the bug")
        ask = await w.sees(root, "Which way?")
        await w.press("alice", ask, "Long")
        end = await w.ended(root)
        shown = "\n".join(w.texts(root))
        assert "I look at it *first*." in shown
        assert "✓ Bash `echo fixed > fix.txt`" in shown
        assert "It goes the way you said" in shown
        assert "Long" in w.texts(root)[[m["ts"] for m in slack.thread(CHANNEL, root)].index(ask["ts"])]

        reply = slack.say("alice", CHANNEL, "again please", thread_ts=root)
        await w.sees(root, "I did it again.")
        await w.ended(root, count=2)
        assert [r["name"] for r in slack.space.find(reply)[1].get("reactions", [])] == ["eyes"]

        await w.press("alice", end, "Push")
        await w.ended(root, count=3)
        name = w.texts(root)[0].strip("*").partition("/")[2]
        assert "fix.txt" in git("ls-tree", "-r", "--name-only", f"rdev/{name}", cwd=tmp_path / "remote.git")

        slack.say("alice", CHANNEL, "slow one", thread_ts=root)
        card = await w.sees(root, "● Bash `echo half")
        await w.press("alice", card, "Stop")
        await w.ended(root, count=4)
        assert "stopped" in w.texts(root)[-1]
    assert slack.breaches == []
    assert slack.limited == 0
