"""The service under test, in a process of its own, driven by JSON lines.

    python serve.py CONFIGURATION

A request is {"id": N, "do": VERB, …}, its answer {"id": N, …}; {"ready": TIME} comes first. It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from place import ACTOR
from recorder import Recorder

from adapters.transcript import Transcript
from bot.__main__ import serving
from bot.config import load
from bot.service import Message, Service


async def main(file: Path) -> None:
    """Serve until there are no more requests."""
    config = load(file, {})
    recorder = Recorder(Transcript(config.state_dir / "console"))
    async with serving(config, [recorder]) as service:
        _tell({"ready": time.time()})
        async with asyncio.TaskGroup() as group:
            requests, tasks = await _stdin(), []
            while line := await requests.readline():
                tasks.append(group.create_task(_answer(json.loads(line), service, recorder)))
            for task in tasks:
                task.cancel()  # nobody reads its answer


async def _answer(request: dict[str, Any], service: Service, recorder: Recorder) -> None:
    match request["do"]:
        case "say":
            began = time.time()
            message = Message(secrets.token_hex(8), "console", request["thread"], ACTOR, request["text"])
            reply = await service.handle(message)
            answer = {"text": reply.text, "thread": reply.thread, "job": reply.job, "error": reply.error, "at": began}
        case "until":
            shown = await recorder.until(request["job"], request["kind"])
            answer = {name: value for name, value in asdict(shown).items() if name != "torn"}
        case "lags":
            answer = {"lags": recorder.lags}
            recorder.lags = []
        case verb:
            raise ValueError(verb)
    _tell({"id": request["id"], **answer})


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
