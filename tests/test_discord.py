"""rdev on Discord: the real client, the real service and sandbox, and a Discord on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from discord_lab import lab, labels
from fake_discord import FakeDiscord
from world import git

STORY = {
    "fix": [
        [{"say": "I look at it **first**. "}, {"tool": "Bash", "input": {"command": "echo fixed > fix.txt"}}],
        {"ask": [{"question": "Which way?", "options": ["Short", "Long"]}]},
        {"say": "It goes the way you said: $RESULT", "pace": 0.02},
    ],
    "again": [{"say": "I did it again."}],
}


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as server:
        yield server


async def test_story_goes_from_a_command_to_a_push(tmp_path: Path, server: FakeDiscord) -> None:
    async with lab(tmp_path, STORY, discord=server, push="auto") as w:
        thread = await w.work("fix the bug")
        assert thread.archive_minutes == 10080
        ask = await w.sees(thread, "Which way?")
        assert labels(ask)[:2] == ["Short", "Long"]
        await server.click(server.alice, ask, "Long")
        await w.sees(thread, "It goes the way you said")
        end = await w.ended(thread)
        shown = "\n".join(w.texts(thread))
        assert "I look at it **first**." in shown
        assert "✓ Bash `echo fixed > fix.txt`" in shown
        assert "Long" in ask.text
        assert not ask.buttons

        written = server.say(server.alice, thread, "again please")
        await w.sees(thread, "I did it again.")
        await w.ended(thread, count=2)
        assert "👀" in written.reactions

        await server.click(server.alice, end, "Push")
        await w.sees(thread, "pushed")
        assert "fix.txt" in git(
            "ls-tree", "-r", "--name-only", f"rdev/{thread.name.split('/')[1]}", cwd=tmp_path / "remote.git"
        )
        assert not [each for each in server.requests if each.over or each.status >= 400]
