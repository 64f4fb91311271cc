"""What becomes of jobs when stops, ends, refusals and a store that cannot write cross each other."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from world import KEY, ME, make_remote, text_of, world

from bot.upkeep import expire
from executor.events import (
    AskClosed,
    AskRaised,
    Completed,
    Event,
    Notice,
    Output,
    Pushed,
    Started,
    ToolStarted,
)

ASK = {"ask": [{"ask": [{"question": "Which colour?", "options": ["Red", "Blue"]}]}, {"say": "never"}]}
SLEEP = {"wait": [{"tool": "Bash", "input": {"command": "sleep 600"}}, {"say": "never"}]}
ONE_AT_A_TIME = {"limits": {"jobs": 1}}


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Another process has the store to itself."""
    with closing(sqlite3.connect(directory / "state" / "rdev.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


class SlowRemote:
    """A remote that thinks about each push until it is let go."""

    def __init__(self, directory: Path) -> None:
        hook = make_remote(directory) / "hooks" / "pre-receive"
        self._asked, self._go = directory / "asked", directory / "go"
        for pipe in (self._asked, self._go):
            os.mkfifo(pipe)
        hook.write_text(f"#!/bin/sh\necho >{self._asked}\ncat {self._go}\n")
        hook.chmod(0o755)

    async def asked(self) -> None:
        """Wait until somebody pushes."""
        async with asyncio.timeout(30):
            await asyncio.to_thread(self._asked.read_bytes)

    async def let_go(self) -> None:
        """Take the push."""
        await asyncio.to_thread(self._go.write_bytes, b"")


async def test_stop_ends_a_push_under_way(tmp_path: Path) -> None:
    remote = SlowRemote(tmp_path)
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo echo more >> README.md"))
        push = await w.say("/rdev push demo/scratch")
        await remote.asked()
        stopped = await w.say(f"/rdev stop {push.job}")

        assert stopped.text == f"Stopped: {push.job}."
        done = await w.done(push, timeout=5)
        assert (done.state, done.reason) == ("cancelled", f"stopped by {ME}")
        assert not [event for event in w.events(push) if isinstance(event, Pushed)]


async def test_stop_ends_the_push_after_a_turn_and_keeps_its_commit(tmp_path: Path) -> None:
    remote = SlowRemote(tmp_path)
    script = {"go": [{"tool": "Bash", "input": {"command": "echo more >> README.md"}}, {"say": "Done."}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo go on")
        await remote.asked()
        await w.say("/rdev stop", reply.thread)

        assert (await w.done(reply, timeout=5)).state == "cancelled"
        assert "README.md" in (await w.say("/rdev diff", reply.thread)).text


async def test_domain_for_a_session_opens_nothing_for_the_whole_box(tmp_path: Path) -> None:
    remote = SlowRemote(tmp_path)
    async with TestServer(web.Application()) as host, world(tmp_path, {"go": [{"say": "Gone."}]}) as w:
        where = f"new.example.org:{host.port}"
        await w.done(await w.say("/shell demo echo more >> README.md"))
        other = await w.say("/claude demo go")
        await w.done(other)
        ask_for_it = f"curl -sS -o /dev/null -w '%{{http_code}} ' http://{where}/"
        tries = await w.say(f"/shell demo for i in $(seq 15); do {ask_for_it}; sleep 0.2; done", other.thread)
        await w.until(tries, Output)
        push = await w.say("/rdev push demo/scratch")
        await remote.asked()  # this job has no network slot of its own
        assert not (await w.say(f"/rdev allow {where} demo/scratch")).error

        await w.done(tries)
        assert set(text_of(w.events(tries)).split()) == {"403"}
        await remote.let_go()
        await w.done(push)


async def test_stop_that_cannot_be_stored_leaves_the_job_in_the_queue(tmp_path: Path) -> None:
    async with world(tmp_path, sections=ONE_AT_A_TIME) as w:
        running = await w.say("/shell demo sleep 600")
        await w.until(running, Started)
        queued = await w.say("/shell demo echo queued")
        with locked(tmp_path):
            assert (await w.say(f"/rdev stop {queued.job}")).error
        await w.say(f"/rdev stop {running.job}")

        assert (await w.done(queued)).state == "succeeded"
        assert text_of(w.events(queued)) == "queued\n"


async def test_follow_up_that_cannot_be_stored_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path, SLEEP) as w:
        reply = await w.say("/claude demo wait")
        await w.until(reply, ToolStarted)
        with locked(tmp_path):
            async with asyncio.timeout(14):  # two of the store's own waits
                refused = await w.say("also this", reply.thread)
        assert "Nothing of this was accepted" in refused.text
        await w.say("/rdev stop", reply.thread)


async def test_message_after_claude_died_is_the_next_turn(tmp_path: Path) -> None:
    remote = SlowRemote(tmp_path)
    die = {"tool": "Bash", "input": {"command": "echo x > f; kill -9 -1"}}
    script: dict[str, list[Any]] = {"die": [die], "also": [{"say": "Also."}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo die")
        await remote.asked()  # Claude is dead, and its changes are on their way
        more = await w.say("also this", reply.thread)

        assert more.job != reply.job
        await remote.let_go()
        await w.done(more)
        assert text_of(w.events(more)) == "Also."


async def test_job_whose_ask_expired_is_stopped_though_a_kill_came_between(tmp_path: Path) -> None:
    async with world(tmp_path, ASK) as w:
        reply = await w.say("/claude demo ask me")
        await w.asked(reply)
        store, runner = w.service.context.store, w.service.context.runner
        await store.expire_asks(time.time() + 90_000)
        watch = asyncio.create_task(expire(store, runner))

        done = await w.done(reply, timeout=10)
        watch.cancel()
        assert done.reason.startswith("nobody answered in time")


async def test_end_of_a_job_closes_what_it_asked(tmp_path: Path) -> None:
    async with world(tmp_path, ASK) as w:
        reply = await w.say("/claude demo ask me")
        ask = await w.asked(reply)
        await w.service.context.sites["demo"].boxrun.stop(reply.job, grace=0)  # with no time to take it back itself
        await w.done(reply)

        closed = [event for event in w.events(reply) if isinstance(event, AskClosed)]
        assert [(event.id, event.outcome) for event in closed] == [(ask.id, "withdrawn")]
        assert (await w.say("/rdev asks")).text == "Nothing waits for an answer."
        assert "no longer asked" in (await w.service.answer(ask.id, "Red", ME)).text


async def test_queued_job_of_a_project_that_is_gone_ends(tmp_path: Path) -> None:
    async with world(tmp_path, sections=ONE_AT_A_TIME) as w:
        await w.until(await w.say("/shell demo sleep 600"), Started)
        queued = await w.say("/shell demo echo queued")
    other = {"other": {"url": str(tmp_path / "remote.git"), "rights": {"admin": [ME]}}}
    async with world(tmp_path, sections={"projects": other}) as w:
        done = await w.until(queued, Completed, timeout=10)

        assert (done.state, done.reason) == ("failed", "the project “demo” is no longer in the configuration")


async def test_purge_ends_a_job_that_prints_faster_than_it_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        loud = await w.say("/shell demo seq 30000000; sleep 600")
        await w.until(loud, Output)
        asked = await w.say("/rdev stop demo --purge")
        await w.service.answer(asked.asks[0].id, "yes", ME)

        assert (await w.done(loud, timeout=10)).state == "cancelled"


async def test_session_goes_on_after_its_box_was_purged(tmp_path: Path) -> None:
    async with world(tmp_path, {"one": [{"say": "One."}], "two": [{"say": "Two."}]}) as w:
        first = await w.say("/claude demo one")
        await w.done(first)
        asked = await w.say("/rdev stop demo --purge")
        await w.service.answer(asked.asks[0].id, "yes", ME)
        second = await w.say("two", first.thread)

        assert (await w.done(second)).state == "succeeded"
        assert text_of(w.events(second)) == "Two."


async def test_reason_of_a_failure_keeps_no_secret(tmp_path: Path) -> None:
    async with world(tmp_path, {"go": [{"fail": 400, "message": f"the key is {KEY}"}]}) as w:
        reply = await w.say("/claude demo go on")
        done = await w.done(reply)
        stored = await w.service.context.store.job(reply.job)

        assert "the key is [redacted]" in done.reason
        assert KEY not in repr(stored)


@pytest.mark.parametrize("domain", ["example.org:99999", "10.0.0.1", "exa_mple..org"])
async def test_domain_that_squid_would_not_take_is_not_stored(tmp_path: Path, domain: str) -> None:
    async with world(tmp_path) as w:
        assert (await w.say(f"/rdev allow {domain} demo")).error

        assert (await w.done(await w.say("/shell demo true"))).state == "succeeded"


async def test_address_that_was_refused_is_told_and_not_asked_about(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        reply = await w.say("/shell demo curl -s http://192.0.2.1/; sleep 1")
        await w.done(reply)
        events: list[Event] = w.events(reply)

        notice = next(event for event in events if isinstance(event, Notice))
        assert notice.text == "The egress filter refused 192.0.2.1:80."
        assert not [event for event in events if isinstance(event, AskRaised)]
