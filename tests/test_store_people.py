"""Deliveries, seen ids, asks, grants, costs and retention."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from storing import ACT, Clock, ask, job, session, store_with_job

from bot.errors import JobEnded
from bot.model import AskState, Delivery, Grant, JobState, replace
from bot.store import Cost, Store
from executor.events import AskClosed, AskRaised, Text

# deliveries


async def test_delivery_never_goes_back(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.deliver("j1", "console", "t1", 5, messages="[1]")
        await store.deliver("j1", "console", "t1", 3)
        assert await store.deliveries() == [Delivery("j1", "console", "t1", 5, "[1]")]

        await store.deliver("j1", "console", "t1", 6, done=True)
        await store.deliver("j1", "console", "t1", 6, messages="[1, 2]")
        assert await store.deliveries() == []
        assert await store.deliveries(done=True) == [Delivery("j1", "console", "t1", 6, "[1, 2]", done=True)]


async def test_adding_a_delivery_again_keeps_its_progress(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.deliver("j1", "console", "t1", 5)
        await store.add_delivery(Delivery("j1", "console", "t1"))
        await store.add_delivery(Delivery("j1", "console", "t2"))

        assert [(each.thread, each.seq) for each in await store.deliveries(job="j1")] == [("t1", 5), ("t2", 0)]


# seen ids


async def test_id_is_taken_once_under_concurrency(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        taken = await asyncio.gather(*(store.accept("m1") for _ in range(50)))

        assert sorted(taken) == [False] * 49 + [True]


async def test_seen_id_answers_as_before_until_it_is_forgotten(tmp_path: Path) -> None:
    clock = Clock(100.0)
    async with store_with_job(tmp_path, clock) as store:
        assert await store.seen("m1") is None
        await store.accept("m1")
        await store.remember("m1", "done")
        clock.now = 200.0
        await store.accept("m2")

        assert await store.seen("m1") == "done"
        assert await store.forget_seen(150.0) == 1
        assert await store.seen("m1") is None
        assert await store.seen("m2") == ""
        assert await store.accept("m1") is True


# asks


async def test_ask_waits_until_it_is_answered_and_the_answer_until_it_is_sent(tmp_path: Path) -> None:
    told = AskClosed("a1", "answered", '"yes"', "slack:T/U")
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [AskRaised("a1", "permission", "Bash", "ls")], asks=[ask()])
        assert await store.open_asks() == [ask()] == await store.open_asks("p")
        assert await store.open_asks("q") == []

        assert await store.answer_ask("a1", '"yes"', "slack:T/U", events=[told], audit=ACT) is True
        answered = ask(state=AskState.ANSWERED, answer='"yes"', actor="slack:T/U")
        assert await store.open_asks() == []
        assert await store.ask("a1") == answered
        assert await store.unsent_answers("j1") == [answered]
        assert (await store.entries("j1", 1))[0].event == told

        await store.mark_sent("a1")
        assert await store.unsent_answers("j1") == []
        assert await store.ask("a1") == replace(answered, sent=True)


async def test_ask_is_answered_once_by_whoever_is_first(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_ask(ask(), ACT)
        answers = [store.answer_ask("a1", f"{n}", f"key:{n}", events=[Text("x")], audit=ACT) for n in range(10)]

        assert await asyncio.gather(*answers) == [True] + [False] * 9
        assert (await store.ask("a1")) == ask(state=AskState.ANSWERED, answer="0", actor="key:0")
        assert len(await store.entries("j1", 0)) == 1
        assert len(await store.audit()) == 4
        assert await store.answer_ask("unknown", "1", "a", audit=ACT) is False


async def test_closed_ask_takes_no_answer(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [], asks=[ask()])
        await store.append("j1", [AskClosed("a1", "withdrawn")], close_asks=[("a1", AskState.WITHDRAWN)])

        assert await store.answer_ask("a1", "1", "a", events=[Text("x")], audit=ACT) is False
        assert await store.ask("a1") == ask(state=AskState.WITHDRAWN)
        assert len(await store.entries("j1", 0)) == 1


async def test_answer_is_not_withdrawn_by_a_late_close(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [], asks=[ask()])
        await store.answer_ask("a1", "1", "a", audit=ACT)
        await store.append("j1", [], close_asks=[("a1", AskState.WITHDRAWN)])

        assert [each.id for each in await store.unsent_answers("j1")] == ["a1"]


async def test_expiry_closes_an_ask_without_an_answer_and_tells_its_job(tmp_path: Path) -> None:
    lasting, other = ask("a2"), ask("a3", job="", session="", expires=50.0)
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [], asks=[ask(expires=50.0), lasting, other])

        assert await store.expire_asks(49.0) == []
        expired = await store.expire_asks(50.0)
        assert [(each.id, each.state) for each in expired] == [("a1", AskState.EXPIRED), ("a3", AskState.EXPIRED)]
        assert await store.expire_asks(50.0) == []
        assert await store.open_asks() == [lasting]
        assert await store.unsent_answers("j1") == []
        assert [entry.event for entry in await store.entries("j1", 0)] == [AskClosed("a1", "expired")]


async def test_ask_that_outlived_its_job_is_answered_without_a_late_event(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [], asks=[ask(), ask("a2", expires=50.0)])
        await store.transition("j1", JobState.SUCCEEDED)

        assert await store.answer_ask("a1", "1", "a", events=[Text("late")], audit=ACT) is True
        assert [each.id for each in await store.expire_asks(50.0)] == ["a2"]
        assert await store.entries("j1", 0) == []
        with pytest.raises(JobEnded):
            await store.append("j1", [], asks=[ask("a3")])


# grants and cost


async def test_grants_hold_for_their_session_or_the_project_until_they_expire(tmp_path: Path) -> None:
    whole = Grant("p", "", "one.example.org", "a", 1.0, 0.0)
    own = Grant("p", "s1", "two.example.org", "a", 1.0, 50.0)
    async with store_with_job(tmp_path) as store:
        for grant in (
            whole,
            own,
            Grant("p", "s2", "three.example.org", "a", 1.0, 0.0),
            Grant("q", "", "go.dev", "a", 1.0, 0.0),
        ):
            await store.grant(grant, ACT)

        assert await store.grants("p", "s1", 49.0) == [whole, own]
        assert await store.grants("p", "s1", 50.0) == [whole]
        assert [each.domain for each in await store.grants("p", now=2.0)] == [
            "one.example.org",
            "two.example.org",
            "three.example.org",
        ]
        assert await store.expire_grants(50.0) == [own]
        assert await store.expire_grants(50.0) == []


async def test_grants_end_with_their_session(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        for where in ("", "s1"):
            await store.grant(Grant("p", where, "one.example.org", "a", 1.0, 0.0), ACT)
        await store.update_session("s1", deleted=True)

        assert [each.session for each in await store.grants("p")] == [""]


async def test_costs_are_summed_by_project_and_session(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_session(session("s2", project="q"), ACT)
        await store.add_job(job("j2", created=50.0), [], ACT)
        await store.add_job(job("j3", created=60.0, project="q", session="s2"), [], ACT)
        for number in (1, 2, 3):
            await store.append(f"j{number}", [], cost_usd=0.5, tokens=10 * number)

        assert await store.costs() == [Cost("p", 2, 1.0, 30), Cost("q", 1, 0.5, 30)]
        assert await store.costs(project="p", since=50.0) == [Cost("p", 1, 0.5, 20)]
        assert await store.costs(project="unknown") == []
        assert await store.session_cost("s2") == Cost("q", 1, 0.5, 30)
        assert await store.session_cost("unknown") == Cost("", 0, 0.0, 0)


# retention


async def _ended_job(store: Store, job_id: str, ended: float, events: int = 3) -> None:
    await store.add_job(job(job_id), [Text("x")] * events, ACT)
    await store.transition(job_id, JobState.SUCCEEDED, ended=ended)


async def test_retention_deletes_old_events_that_everyone_has_seen(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        for job_id, ended, done in (("old", 10.0, True), ("undelivered", 10.0, False), ("young", 99.0, True)):
            await _ended_job(store, job_id, ended, events=1203)
            await store.deliver(job_id, "console", "t1", 1203, done=done)
        await store.append("j1", [Text("running")])
        acts = await store.audit()

        assert await store.prune(50.0) == 1203
        assert await store.prune(50.0) == 0
        left = {each.id: len(await store.entries(each.id, 0, limit=2000)) for each in await store.jobs()}
        assert left == {"old": 0, "undelivered": 1203, "young": 1203, "j1": 1}
        assert (await store.job("old")) is not None
        assert await store.audit() == acts
        assert await store.verify() == []

        await store.deliver("undelivered", "console", "t1", 1203, done=True)
        assert await store.prune(50.0) == 1203
