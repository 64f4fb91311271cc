"""rdev on Slack in a process that may be killed.

    python slack_kill_driver.py DIRECTORY MODEL_URL SLACK_URL

Serves until it is terminated; DIRECTORY/project.json has the project's settings.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from fake_slack import APP_TOKEN, BOT_TOKEN
from world import KEY, settings

from adapters.slack_link import Access, Slack
from bot.__main__ import serving
from bot.config import parse


async def main(directory: Path, model: str, slack: str) -> None:
    """Run until terminated."""
    project = json.loads((directory / "project.json").read_text())
    config = parse(settings(directory, model, **project), directory / "rdev.toml", {"MODEL_KEY": KEY})
    access = Access(BOT_TOKEN, APP_TOKEN, api_url=slack, ping_seconds=1)
    async with Slack.open(access) as link, serving(config, [], [link.chat]) as service:
        running = asyncio.ensure_future(link.run(service))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
