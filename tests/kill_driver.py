"""The service in a process that may be killed: asks for one job under a fixed id, answers what it asks, waits for it.

    python kill_driver.py DIRECTORY MODEL_URL TEXT

Exits with 0 once the thread shows the job's end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from world import KEY, ME, settings

from adapters.transcript import Transcript
from bot.__main__ import serving
from bot.config import parse
from bot.model import Entry
from bot.service import Message, Service
from executor.events import AskClosed, AskRaised, Completed


async def main(directory: Path, model: str, text: str) -> None:
    """Run until the job's end is shown."""
    project = json.loads((directory / "project.json").read_text())
    config = parse(settings(directory, model, **project), directory / "rdev.toml", {"MODEL_KEY": KEY})
    transcript = Transcript(directory / "console")
    async with serving(config, [transcript]) as service:
        with transcript.growing() as growth:
            await service.handle(Message("the-one-message", "console", "", ME, text))
            while not await _over(service, transcript):
                await growth.wait()


async def _over(service: Service, transcript: Transcript) -> bool:
    shown = [entry for thread in transcript.threads() for entry in read(transcript, thread.name)]
    closed = {entry.event.id for entry in shown if isinstance(entry.event, AskClosed)}
    for entry in shown:
        if isinstance(entry.event, AskRaised) and entry.event.id not in closed:
            await service.answer(entry.event.id, entry.event.choices[0], ME)
    return any(isinstance(entry.event, Completed) for entry in shown)


def read(transcript: Transcript, thread: str) -> list[Entry]:
    """Everything a thread shows."""
    found: list[Entry] = []
    end = 0
    while (page := transcript.read(thread, end)).end != end:
        found += page.entries
        end = page.end
    return found


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
