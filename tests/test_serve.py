"""`rdev serve` and `rdev setup`, as their users run them."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

from fake_discord import FakeDiscord
from test_discord_kill import configure, rdev
from world import KEY, make_remote

ROOT = Path(__file__).parents[1]


async def serve(directory: Path, token: str) -> tuple[int | None, str]:
    env = {**os.environ, "MODEL_KEY": KEY, "DISCORD_TOKEN": token}
    argv = [sys.executable, "-m", "bot", "--config", str(directory / "rdev.toml"), "serve"]
    process = await asyncio.create_subprocess_exec(*argv, env=env, stderr=asyncio.subprocess.PIPE, cwd=ROOT)
    _, said = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, said.decode().splitlines()[-1]


async def test_service_ends_when_told(tmp_path: Path) -> None:
    make_remote(tmp_path)
    async with FakeDiscord() as discord:
        configure(tmp_path, "http://127.0.0.1:9", discord)
        async with rdev(tmp_path, discord) as process:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
        assert discord.token not in (tmp_path / "log").read_text()


async def test_token_that_discord_does_not_know_ends_the_service_with_a_sentence(tmp_path: Path) -> None:
    make_remote(tmp_path)
    async with FakeDiscord() as discord:
        configure(tmp_path, "http://127.0.0.1:9", discord)
        code, said = await serve(tmp_path, "another-token")
        assert (code, said) == (2, "Discord does not know the bot's token; see [discord] in the configuration.")
        code, said = await serve(tmp_path, "")
        assert code == 2
        assert "$DISCORD_TOKEN" in said


async def test_missing_intent_ends_the_service_with_what_to_click(tmp_path: Path) -> None:
    make_remote(tmp_path)
    async with FakeDiscord(privileged=0) as discord:
        configure(tmp_path, "http://127.0.0.1:9", discord)
        code, said = await serve(tmp_path, discord.token)
        assert code == 2
        assert "Message Content Intent" in said


async def test_service_without_a_chat_says_what_there_is(tmp_path: Path) -> None:
    make_remote(tmp_path)
    async with FakeDiscord() as discord:
        configure(tmp_path, "http://127.0.0.1:9", discord)
    config = (tmp_path / "rdev.toml").read_text().splitlines()
    (tmp_path / "rdev.toml").write_text("\n".join(line for line in config if not line.startswith("discord")))
    code, said = await serve(tmp_path, "")
    assert code == 2
    assert "[discord]" in said


def test_invitation_carries_the_application_and_its_permissions() -> None:
    token = base64.b64encode(b"80351110224678912").decode().rstrip("=") + ".x.y"
    argv = [sys.executable, "-m", "bot", "setup", "discord"]
    env = {**os.environ, "DISCORD_TOKEN": token}
    said = subprocess.run(argv, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout
    assert "client_id=80351110224678912&scope=bot+applications.commands&permissions=" in said
    assert token not in said
    bits = int(said.split("permissions=")[1].split()[0])
    assert bits & 1 << 35
    assert not bits & 1 << 3
