"""A process that writes to a store as fast as it can until it is killed; prints what was accepted, line by line."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path

from storing import ACT, ask, job, session

from bot.model import JobState
from bot.store import Store
from executor.events import Completed, Text

SIZES = (1, 90, 5000, 70_000)
"""Bytes of journal that one event takes, in turn."""


async def _run_jobs(store: Store) -> None:
    """Run one job after the other: its events and offset, an ask with its answer, its end."""
    while True:
        job_id = uuid.uuid4().hex
        await store.add_job(job(job_id), [Text("x")], ACT, seen_id=job_id)
        print("job", job_id, flush=True)
        for number, size in enumerate(SIZES * 3):
            read = sum((SIZES * 3)[:number])
            await store.append(job_id, [Text("x" * size)], expect_offset=read, offset=read + size, audit=ACT)
            print("append", job_id, number + 2, flush=True)
        await store.append(job_id, [], asks=[ask(f"ask-{job_id}", job=job_id)])
        await store.answer_ask(f"ask-{job_id}", "1", "a", events=[Text("x")], audit=ACT)
        await store.transition(job_id, JobState.SUCCEEDED, events=[Completed("succeeded", 0, 1)], audit=ACT)
        print("end", job_id, flush=True)


async def main(path: Path) -> None:
    async with Store.open(path) as store:
        if await store.session("s1") is None:
            await store.add_session(session(), ACT)
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(_run_jobs(store))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
