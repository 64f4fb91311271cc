"""What may run at once, what waits, and how asks, plans, permissions and budgets steer a turn."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest
from world import ME, text_of, world

from bot.upkeep import expire
from executor.events import AskClosed, AskRaised, Notice, Output, ToolEnded, ToolStarted

WRITE = [{"tool": "Bash", "input": {"command": "echo done > made.txt"}}, {"say": "Made. $RESULT"}]


async def test_second_job_of_a_session_waits_its_turn(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = await w.say("/shell demo sleep 1; echo first")
        second = await w.say("/shell demo echo second")
        third = await w.say("/shell demo echo third")

        assert (first.text, second.text, third.text) == (
            "",
            "It waits its turn: 1 before it.",
            "It waits its turn: 2 before it.",
        )
        await w.done(third)
        shown = [entry.event.text for entry in w.entries(first.thread) if isinstance(entry.event, Output)]
        assert shown == ["first\n", "second\n", "third\n"]


async def test_jobs_of_different_sessions_run_side_by_side(tmp_path: Path) -> None:
    script = {"wait": [{"tool": "Bash", "input": {"command": "sleep 1"}}, {"say": "waited"}]}
    async with world(tmp_path, script) as w:
        replies = [await w.say(f"/claude demo wait {number}") for number in range(3)]
        await asyncio.gather(*(w.until(reply, ToolStarted) for reply in replies))

        assert not any(isinstance(e, ToolEnded) for reply in replies for e in w.events(reply))
        assert {(await w.done(reply)).state for reply in replies} == {"succeeded"}
        assert len({reply.thread for reply in replies}) == 3


async def test_limit_of_jobs_holds_and_a_full_queue_refuses(tmp_path: Path) -> None:
    limits = {"limits": {"jobs": 1, "jobs_per_project": 1, "queue": 1}}
    script = {"wait": [{"tool": "Bash", "input": {"command": "sleep 600"}}], "quick": [{"say": "quick"}]}
    async with world(tmp_path, script, sections=limits) as w:
        running = await w.say("/claude demo wait here")
        queued = await w.say("/claude demo quick one")
        refused = await w.say("/claude demo quick two")

        assert queued.text == "It waits its turn: 1 before it."
        assert "1 jobs wait already" in refused.text
        await w.until(running, ToolStarted)
        assert (await w.say(f"/rdev stop {queued.job}")).text == f"Stopped: {queued.job}."
        assert (await w.done(queued)).state == "cancelled"
        assert (await w.say("/rdev stop demo")).text.startswith("The box of demo is stopped with 1 jobs")
        assert (await w.done(running)).state == "cancelled"


async def test_plan_is_approved_before_anything_changes(tmp_path: Path) -> None:
    script = {"make": [{"plan": "1. Make the file."}, *WRITE]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo --plan make the file")
        ask = await w.asked(reply)
        assert ask.kind == "plan"
        assert "1. Make the file." in ask.body
        await w.service.answer(ask.id, "Approve", ME)

        assert (await w.done(reply)).state == "succeeded"
        assert "made.txt" in (await w.say("/rdev diff", reply.thread)).text


async def test_tool_waits_for_permission_where_the_project_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, {"make": WRITE}, permissions="ask") as w:
        reply = await w.say("/claude demo make it")
        ask = await w.asked(reply)
        assert (ask.kind, ask.body.strip()) == ("permission", "echo done > made.txt")
        assert (await w.service.answer(ask.id, "Allow once", "local:runner")).error
        assert not (await w.service.answer(ask.id, "Not this way", "local:approver")).error

        assert (await w.done(reply)).state == "succeeded"
        assert "Not this way" in next(e.output for e in w.events(reply) if isinstance(e, ToolEnded))
        assert (await w.say("/rdev diff", reply.thread)).text == "Nothing differs from the base branch."


async def test_two_questions_at_once_go_back_together(tmp_path: Path) -> None:
    questions = [
        {"question": "Which colour?", "options": ["Red", "Blue"]},
        {"question": "Which size?", "options": ["S", "L"]},
    ]
    async with world(tmp_path, {"ask": [{"ask": questions}, {"say": "$RESULT"}]}) as w:
        reply = await w.say("/claude demo ask me")
        first, second = await w.asked(reply), await w.asked(reply, count=2)
        await w.service.answer(second.id, "L", ME)
        await w.service.answer(first.id, "Red", ME)
        await w.done(reply)

        assert '"Which colour?"="Red"' in text_of(w.events(reply))
        assert '"Which size?"="L"' in text_of(w.events(reply))


async def test_answer_given_while_the_service_was_gone_is_not_lost(tmp_path: Path) -> None:
    script = {"ask": [{"ask": [{"question": "Which colour?", "options": ["Red", "Blue"]}]}, {"say": "$RESULT"}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo ask me")
        ask = await w.asked(reply)
        port = int(w.model.url.rpartition(":")[2])
    async with world(tmp_path, script, model_port=port) as w:
        # The same question, still open, after a restart.
        assert ask.id in (await w.say("/rdev asks")).text
        await w.say(f"/rdev answer {ask.id} Red")
        assert (await w.done(reply)).state == "succeeded"
        assert '"Which colour?"="Red"' in text_of(w.events(reply))


async def test_expired_ask_is_never_answered_and_its_job_is_stopped(tmp_path: Path) -> None:
    script = {"ask": [{"ask": [{"question": "Which colour?", "options": ["Red", "Blue"]}]}, {"say": "never"}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo ask me")
        ask = await w.asked(reply)
        store, runner = w.service.context.store, w.service.context.runner
        tomorrow = asyncio.create_task(expire(store, runner, clock=lambda: time.time() + 90_000))
        done = await w.done(reply)
        tomorrow.cancel()

        assert (done.state, done.reason.partition(";")[0]) == ("cancelled", "nobody answered in time")
        closed = next(e for e in w.events(reply) if isinstance(e, AskClosed))
        assert (closed.outcome, closed.answer) == ("expired", "")
        assert "Nobody answered this in time" in (await w.service.answer(ask.id, "Red", ME)).text


async def test_budget_ends_the_job_with_a_sentence(tmp_path: Path) -> None:
    async with world(tmp_path, {"make": WRITE}, budget_usd=0.000001) as w:
        reply = await w.say("/claude demo make it")
        done = await w.done(reply)

        assert done.state == "failed"
        assert "budget" in done.reason


async def test_trouble_of_the_api_is_shown_and_survived(tmp_path: Path) -> None:
    script = {"go": [{"fail": 529, "times": 1}, {"say": "There."}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo go on")
        done = await w.done(reply)

        assert done.state == "succeeded"
        notices = [e.text for e in w.events(reply) if isinstance(e, Notice)]
        assert any(text.startswith("API overloaded (529), retry 1 of 10") for text in notices), notices


@pytest.mark.parametrize("deaf", [False, True], ids=["a usual job", "a job that ignores signals"])
async def test_stop_is_quick_whatever_runs(tmp_path: Path, deaf: bool) -> None:
    trap = "trap '' INT TERM; (trap '' INT TERM; setsid sleep 613) & " if deaf else ""
    async with world(tmp_path) as w:
        reply = await w.say(f"/shell demo {trap} echo up; while :; do sleep 1; done")
        await w.until(reply, Output)
        began = time.monotonic()
        await w.say("/rdev stop", reply.thread)

        assert time.monotonic() - began < 5
        assert (await w.done(reply)).state == "cancelled"
        listed = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(b"613" in line.split(b"\0") for line in listed)


async def test_locked_store_stops_new_work_and_loses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        reply = await w.say("/shell demo for i in $(seq 60); do echo line $i; sleep 0.1; done")
        await w.until(reply, Output)
        with sqlite3.connect(tmp_path / "state" / "rdev.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            refused = await w.say("/shell demo echo more")
            other.execute("ROLLBACK")
        other.close()

        assert "another process holds it locked" in refused.text
        assert (await w.done(reply)).state == "succeeded"
        assert text_of(w.events(reply)) == "".join(f"line {number}\n" for number in range(1, 61))
        assert not [e for e in w.events(reply) if isinstance(e, AskRaised)]
