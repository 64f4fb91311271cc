"""rdev on Slack as a new user sets it up: what the manifest asks for is what is used, and mistakes are told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from slack_lab import CHANNEL, access, rights, until
from slack_spec import methods
from world import KEY, make_remote

from adapters.slack_link import Slack, connected
from bot.config_chat import Slack as Settings
from bot.errors import UserError
from bot.setup_slack import SHORTCUT, instructions, manifest

ROOT = Path(__file__).parents[1]


def test_every_scope_of_the_manifest_is_explained_and_needed_by_a_request() -> None:
    told: Any = manifest()
    scopes = told["oauth_config"]["scopes"]["bot"]
    used = set(re.findall(r"_web\.(\w+)\(", "".join(p.read_text() for p in (ROOT / "adapters").glob("slack*.py"))))

    assert len(used) >= 8
    for scope in scopes:
        assert re.search(rf"^   {re.escape(scope)}  +\S", instructions(), re.M), scope
    assert {"/claude", "/git", "/rdev", "/shell"} == {c["command"] for c in told["features"]["slash_commands"]}
    assert told["features"]["shortcuts"][0]["callback_id"] == SHORTCUT
    assert all(len(c["description"]) <= 100 for c in told["features"]["slash_commands"])
    assert len(told["features"]["shortcuts"][0]["name"]) <= 24
    assert {"chat_postMessage", "chat_update", "conversations_replies"} <= used
    assert not methods() or {name.replace("_", ".") for name in used if name.startswith("chat")} <= set(methods())


def test_manifest_is_printed_without_a_configuration(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bot", "setup", "slack"]
    printed = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    body = printed[printed.index("{") : printed.rindex("\n}") + 2]
    assert json.loads(body) == manifest()


async def test_missing_token_is_told_with_its_place() -> None:
    with pytest.raises(UserError, match=r"\$SLACK_BOT_TOKEN.*rdev setup slack"):
        async with connected(Settings()):
            pass


async def test_token_that_slack_does_not_know_ends_the_connection_with_a_sentence() -> None:
    async with FakeSlack() as slack:
        slack.web.revoked.add(BOT_TOKEN)
        async with Slack.open(access(slack)) as link:
            with pytest.raises(UserError, match="token_revoked"):
                await link.run(None)  # type: ignore[arg-type]  # it never comes to the service


async def test_serve_brings_work_from_slack_and_ends_when_told(tmp_path: Path) -> None:
    make_remote(tmp_path)
    async with FakeSlack() as slack:
        held = json.dumps(rights(slack)["admin"])
        (tmp_path / "rdev.toml").write_text(
            f"""
            state_dir = "state"
            [slack]
            api_url = "{slack.base_url}"
            [projects.demo]
            url = "{tmp_path}/remote.git"
            [projects.demo.rights]
            admin = {held}
            """
        )
        env = {**os.environ, "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "ANTHROPIC_API_KEY": KEY}
        argv = [sys.executable, "-m", "bot", "--config", str(tmp_path / "rdev.toml"), "serve"]
        process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stderr=asyncio.subprocess.PIPE)
        try:
            await slack.connected(seconds=20)
            await slack.command("alice", CHANNEL, "/shell", "demo echo hello from the box")
            await until(lambda: any("hello from the box" in str(m) for m in slack.messages(CHANNEL)[1:]))
            await until(lambda: any("[Push]" in t for t in slack.seen(CHANNEL, slack.messages(CHANNEL)[0]["ts"])))
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, errors.decode()
        assert BOT_TOKEN not in errors.decode()
        assert slack.breaches == []
