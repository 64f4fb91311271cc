"""What is put into the store comes out of it, and what must not happen is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from storing import ACT, Clock, job, session, store_with_job

from bot.errors import AlreadyAccepted, JobEnded, NameTaken, Stale, StoreUnavailable
from bot.model import Delivery, JobState, replace
from executor.events import Accepted, Completed, Notice, Output, Text

TERMINAL = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]


# sessions


async def test_session_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    stored = session("s2", model="opus", effort="high", mode="plan", claude_started=True)
    async with store_with_job(tmp_path) as store:
        await store.add_session(stored, ACT)

        assert await store.session("s2") == stored
        assert await store.session_named("p", "name-s2") == stored
        assert await store.session("unknown") is None
        assert await store.session_named("q", "name-s2") is None


async def test_sessions_are_listed_newest_first_without_the_deleted(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        for number in (2, 3, 4):
            await store.add_session(session(f"s{number}", project="q", created=float(number)), ACT)
        await store.update_session("s3", deleted=True)

        assert [each.id for each in await store.sessions()] == ["s4", "s2", "s1"]
        assert [each.id for each in await store.sessions("q")] == ["s4", "s2"]
        assert [each.id for each in await store.sessions("q", include_deleted=True)] == ["s4", "s3", "s2"]
        assert [each.id for each in await store.sessions(limit=1)] == ["s4"]


async def test_name_is_taken_only_by_a_living_session_of_the_project(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        with pytest.raises(NameTaken, match="p already has a session named name-s1"):
            await store.add_session(session("s2", name="name-s1"), ACT)
        await store.add_session(session("s3", name="name-s1", project="q"), ACT)
        await store.update_session("s1", deleted=True)
        await store.add_session(session("s4", name="name-s1"), ACT)

        assert await store.session_named("p", "name-s1") == session("s4", name="name-s1")


async def test_session_changes_where_it_may(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        changed = await store.update_session("s1", model="opus", claude_started=True, audit=ACT)

        assert changed == session(model="opus", claude_started=True) == await store.session("s1")
        with pytest.raises(TypeError, match="project"):
            await store.update_session("s1", model="haiku", project="q")
        with pytest.raises(KeyError):
            await store.update_session("unknown", model="haiku")
        assert await store.session("s1") == changed


async def test_thread_belongs_to_one_session(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_session(session("s2"), ACT)
        await store.bind("console", "t2", "s1")
        await store.bind("console", "t1", "s2")

        assert await store.session_of("console", "t1") == session("s2")
        assert await store.session_of("slack:T", "t1") is None
        assert await store.threads_of("s1") == [("console", "t2")]


# jobs


async def test_job_is_accepted_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.bind("slack:T", "1.2", "s1")
        stored = await store.add_job(
            job("j2", state=JobState.RUNNING), [Accepted("a", "claude", "x")], ACT, seen_id="m1"
        )

        assert stored == job("j2", seq=1) == await store.job("j2")
        assert [entry.event for entry in await store.entries("j2", 0)] == [Accepted("a", "claude", "x")]
        assert await store.deliveries(job="j2") == [Delivery("j2", "console", "t1"), Delivery("j2", "slack:T", "1.2")]
        assert await store.seen("m1") == ""
        assert len(await store.audit()) == 3


async def test_command_is_accepted_once_however_often_it_comes_at_once(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        tries = [store.add_job(job(f"try-{n}"), [Text("x")], ACT, seen_id="m1") for n in range(20)]
        results = await asyncio.gather(*tries, return_exceptions=True)

        assert sum(isinstance(each, AlreadyAccepted) for each in results) == 19
        assert len(await store.jobs()) == 2
        assert len(await store.audit()) == 3
        assert len(await store.deliveries()) == 2


async def test_jobs_are_listed_newest_first_by_scope_and_state(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_session(session("s2", project="q"), ACT)
        for number in range(2, 7):
            where = {"session": "s2", "project": "q"} if number % 2 else {}
            await store.add_job(job(f"j{number}", created=float(number), **where), [], ACT)
        await store.transition("j3", JobState.RUNNING)
        await store.transition("j2", JobState.FAILED)

        assert [each.id for each in await store.jobs()] == ["j6", "j5", "j4", "j3", "j2", "j1"]
        assert [each.id for each in await store.jobs(limit=2)] == ["j6", "j5"]
        assert [each.id for each in await store.jobs(project="p")] == ["j6", "j4", "j2", "j1"]
        assert [each.id for each in await store.jobs(session="s2")] == ["j5", "j3"]
        assert [each.id for each in await store.jobs(states=[JobState.FAILED, JobState.RUNNING])] == ["j3", "j2"]
        assert [each.id for each in await store.active_jobs()] == ["j1", "j3", "j4", "j5", "j6"]


async def test_job_moves_on_with_its_events_and_facts(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        running = await store.transition("j1", JobState.RUNNING, events=[Text("go")], started=5.0, slot=3)
        ended = await store.transition(
            "j1",
            JobState.FAILED,
            events=[Completed("failed", 2, 7)],
            audit=ACT,
            ended=9.0,
            exit_code=2,
            reason="exited",
        )

        assert running == job(state=JobState.RUNNING, started=5.0, slot=3, seq=1)
        assert (
            ended
            == job(state=JobState.FAILED, started=5.0, ended=9.0, exit_code=2, reason="exited", seq=2)
            == await store.job("j1")
        )


@pytest.mark.parametrize("terminal", TERMINAL)
async def test_terminal_state_is_final(tmp_path: Path, terminal: JobState) -> None:
    """Nothing changes a job that has ended: no state, no event, no ask, no cost, and no audit entry tells otherwise."""
    async with store_with_job(tmp_path) as store:
        ended = await store.transition("j1", terminal, audit=ACT)
        acts = await store.audit()

        for to in JobState:
            assert await store.transition("j1", to, events=[Text("late")], audit=ACT, reason="late") is None
        with pytest.raises(JobEnded):
            await store.append("j1", [Text("late")], offset=9, cost_usd=1.0, audit=ACT)
        with pytest.raises(JobEnded):
            await store.take_slot("j1", "p")
        assert await store.edit_queued("j1", "late", ACT) is False
        assert await store.job("j1") == ended
        assert await store.entries("j1", 0) == []
        assert await store.audit() == acts


async def test_unknown_job_is_refused(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        with pytest.raises(KeyError):
            await store.append("unknown", [])
        with pytest.raises(KeyError):
            await store.transition("unknown", JobState.RUNNING)
        assert await store.job("unknown") is None


async def test_slot_is_the_lowest_free_one_of_the_project(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.add_session(session("s2", project="q"), ACT)
        await store.add_job(job("other", project="q", session="s2"), [], ACT)
        for number in (2, 3, 4):
            await store.add_job(job(f"j{number}"), [], ACT)

        slots = await asyncio.gather(*(store.take_slot(f"j{n}", "p", highest=3) for n in (1, 2, 3, 4)))
        assert sorted(slots) == [0, 1, 2, 3]
        assert await store.take_slot("other", "q") == 1
        assert await store.take_slot("j2", "p") == 2
        await store.transition("j2", JobState.CANCELLED)
        assert await store.take_slot("j4", "p", highest=3) == 2


async def test_only_a_queued_prompt_is_edited(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        assert await store.edit_queued("j1", "another", ACT) is True
        await store.transition("j1", JobState.STARTING)
        assert await store.edit_queued("j1", "late", ACT) is False

        assert (await store.jobs())[0].text == "another"
        assert len(await store.audit()) == 3


# events


async def test_events_are_numbered_without_gaps(tmp_path: Path) -> None:
    clock = Clock(10.0)
    async with store_with_job(tmp_path, clock) as store:
        first = await store.append("j1", [Text("a"), Output("b")])
        clock.now = 11.0
        second = await store.append("j1", [Notice("info", "x", "c")])

        assert [(entry.seq, entry.time) for entry in (*first, *second)] == [(1, 10.0), (2, 10.0), (3, 11.0)]
        assert await store.entries("j1", 0) == [*first, *second]
        assert await store.entries("j1", 1, limit=1) == [first[1]]
        assert (await store.append("j1", [])) == []


async def test_read_of_the_journal_is_one_with_its_events(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append(
            "j1",
            [Text("a")],
            expect_offset=0,
            offset=70,
            follow="{}",
            phase="exited",
            cost_usd=0.5,
            tokens=7,
            session_changes={"claude_started": True},
            audit=[ACT, ACT],
        )
        await store.append("j1", [], expect_offset=70, cost_usd=0.25)

        assert await store.job("j1") == job(seq=1, offset=70, follow="{}", phase="exited", cost_usd=0.75, tokens=7)
        assert (await store.session("s1")) == session(claude_started=True)
        assert len(await store.audit()) == 4


async def test_two_readers_of_a_journal_cannot_double_an_event(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        both = [store.append("j1", [Text("a")], expect_offset=0, offset=5, audit=ACT) for _ in range(2)]
        results = await asyncio.gather(*both, return_exceptions=True)

        assert [type(each) for each in results] == [list, Stale]
        assert [entry.event for entry in await store.entries("j1", 0)] == [Text("a")]
        assert len(await store.audit()) == 3


async def test_failed_append_leaves_nothing_behind(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        before = await store.job("j1")
        with pytest.raises(TypeError, match="project"):
            await store.append("j1", [Text("a")], offset=5, cost_usd=1.0, session_changes={"project": "q"}, audit=ACT)

        assert await store.job("j1") == before
        assert await store.entries("j1", 0) == []


async def test_page_of_entries_is_bounded_by_bytes_and_never_empty(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [Output("x" * 1000) for _ in range(10)])

        assert [entry.seq for entry in await store.entries("j1", 0, max_bytes=2500)] == [1, 2, 3]
        assert [entry.seq for entry in await store.entries("j1", 3, max_bytes=1)] == [4]


@pytest.mark.parametrize(
    "text", ["a\ud800b", "\udcff", "nul \0 in it", "🦀\u2028", "x" * 3_000_000], ids=lambda text: repr(text[:9])
)
async def test_any_text_is_stored(tmp_path: Path, text: str) -> None:
    expected = text.encode("utf-8", "replace").decode()
    async with store_with_job(tmp_path) as store:
        await store.add_job(job("j2", text=text), [Text(text)], replace(ACT, prompt=text), seen_id=text)
        await store.remember(text, text)

        assert (await store.entries("j2", 0))[0].event == Text(expected)
        assert (await store.job("j2")) == job("j2", text=expected, seq=1)
        assert await store.seen(text) == expected
        assert (await store.audit())[0].prompt == expected
        assert await store.verify() == []


async def test_event_of_another_version_keeps_its_number(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        await store.append("j1", [Text("a"), Text("b")])
        await store.write(lambda connection: connection.execute("UPDATE events SET type = 'hologram' WHERE seq = 1"))

        entries = await store.entries("j1", 0)
        assert [entry.seq for entry in entries] == [1, 2]
        assert isinstance(entries[0].event, Notice)
        assert "hologram" in entries[0].event.text


async def test_closed_store_says_so(tmp_path: Path) -> None:
    async with store_with_job(tmp_path) as store:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.act(ACT)
