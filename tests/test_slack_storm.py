"""rdev on a Slack that fails at random, and on one with many threads at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fake_slack import FakeSlack
from slack_lab import Lab, lab, until, whole

from bot.model import JobState

TROUBLE = {"429": 0.05, "500": 0.04, "500 after": 0.04, "drop": 0.03, "drop after": 0.03}
WORDS = " ".join(f"word{number}" for number in range(250)) + "."
SCRIPT = {
    "work": [
        [{"say": "I begin. "}, {"tool": "Bash", "input": {"command": "echo one"}}],
        {"say": WORDS, "pace": 0.02},
    ]
}


async def all_done(w: Lab, jobs: int, seconds: float) -> None:
    """Wait until so many jobs have ended, and every thread says so."""
    store = w.service.context.store

    def shown() -> bool:
        texts = [text for m in w.slack.space.channels.values() for root in roots(w.slack, m.name)
                 for text in w.slack.seen(m.name, root)]  # fmt: skip
        ended = sum("[Push]" in text for text in texts)
        return ended == jobs and not any("[Stop]" in text for text in texts)

    await until(shown, seconds)
    done = await store.jobs(project="demo", limit=1000)
    assert Counter(job.state for job in done) == {JobState.SUCCEEDED: jobs}
    for job in done:
        await whole(store, w.slack, job)


def roots(slack: FakeSlack, channel: str) -> list[str]:
    return [m["ts"] for m in slack.messages(channel) if m.get("thread_ts", m["ts"]) == m["ts"]]


async def failing(directory: Path, seed: int, jobs: int, seconds: float) -> None:
    async with FakeSlack(seed=seed, retries=(0.1, *[0.3] * 50)) as slack:
        slack.faults.shares = TROUBLE
        slack.faults.repeats = 0.2
        slack.faults.socket_drops = 0.05
        slack.faults.delay = (0, 0.05)
        async with lab(directory, SCRIPT, slack=slack) as w:
            for number in range(jobs):
                slack.mention("alice", f"channel-{number % 7}", f"work number {number}")
            await all_done(w, jobs, seconds)
            assert sum(slack.faults.met.values()) > jobs / 2
        assert slack.limited == 0


async def test_nothing_is_lost_or_doubled_when_slack_fails_at_random(tmp_path: Path) -> None:
    await failing(tmp_path, 1, 5, 300)


@pytest.mark.trial
async def test_nothing_is_lost_or_doubled_in_a_hundred_jobs(tmp_path: Path) -> None:
    await failing(tmp_path, 2, 100, 900)


async def crowd(directory: Path, threads: int, channels: int, seconds: float) -> None:
    async with FakeSlack() as slack, lab(directory, SCRIPT, slack=slack) as w:
        for number in range(threads):
            slack.mention("alice", f"channel-{number % channels}", f"work number {number}")
        await all_done(w, threads, seconds)
        assert slack.limited == 0
        assert slack.breaches == []


async def test_threads_at_once_stay_within_every_limit(tmp_path: Path) -> None:
    await crowd(tmp_path, 5, 2, 300)


@pytest.mark.trial
async def test_twenty_threads_in_one_channel_stay_within_every_limit(tmp_path: Path) -> None:
    await crowd(tmp_path, 20, 1, 300)
