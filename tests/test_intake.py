"""Messages that come twice, at once, too late, or from those who may not know."""

from __future__ import annotations

import asyncio
from pathlib import Path

from test_runner import locked
from world import ME, make_remote, text_of, world

GO = {"go": [{"say": "Gone."}]}
FULL = {"limits": {"jobs": 1, "queue": 1}}


async def test_first_commands_at_once_share_the_loose_session(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        replies = await asyncio.gather(*(w.say(f"/shell demo echo {number}") for number in range(3)))

        assert [reply.error for reply in replies] == [False] * 3
        assert len({reply.thread for reply in replies}) == 1
        assert [text_of(w.events(reply)) for reply in replies if await w.done(reply)] == ["0\n", "1\n", "2\n"]


async def test_same_message_twice_at_once_makes_one_session(tmp_path: Path) -> None:
    async with world(tmp_path, GO) as w:
        texts = {reply.text for reply in await asyncio.gather(*(w.say("/claude demo go", again="m") for _ in "12"))}

        assert texts == {"", "This was accepted already."}
        assert len((await w.say("/rdev sessions")).text.splitlines()) == 1


async def test_refused_prompt_leaves_no_session(tmp_path: Path) -> None:
    async with world(tmp_path, sections=FULL) as w:
        for _ in range(2):
            await w.say("/shell demo sleep 600")
        assert "wait already" in (await w.say("/claude demo go on")).text

        assert len((await w.say("/rdev sessions")).text.splitlines()) == 1
        await w.say("/rdev stop demo")


async def test_push_is_not_answered_where_it_could_not_be_queued(tmp_path: Path) -> None:
    write = {"go": [{"tool": "Bash", "input": {"command": "echo x > f"}}, {"say": "Done."}]}
    async with world(tmp_path, write, sections=FULL, push="ask") as w:
        reply = await w.say("/claude demo go")
        ask = await w.asked(reply)
        await w.done(reply)
        busy = [await w.say("/shell demo sleep 600") for _ in range(2)]
        assert "wait already" in (await w.service.answer(ask.id, "push", ME)).text
        for each in busy:
            await w.say(f"/rdev stop {each.job}")

        pushed = await w.service.answer(ask.id, "push", ME)
        assert (await w.done(pushed)).state == "succeeded"


async def test_rewind_that_comes_twice_is_done_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo echo x > f"))
        first = await w.say("/rdev rewind 1 demo/scratch", again="m")
        second = await w.say("/rdev rewind 1 demo/scratch", again="m")

        assert "as they were" in first.text
        assert second.text == "This was accepted already."


async def test_job_waits_for_a_rewind_that_was_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo echo x > f"))
        with w.service.context.runner.held(next(iter(await w.service.context.store.sessions("demo"))).id):
            job = await w.say("/shell demo true")
            assert job.text == "It waits its turn: 1 before it."
        assert (await w.done(job)).state == "succeeded"


async def test_whoever_goes_away_leaves_no_job_that_nobody_watches(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo true"))
        for turns in range(0, 30, 2):
            caller = asyncio.create_task(w.say("/shell demo true"))
            await asyncio.sleep(turns / 10_000)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
        store = w.service.context.store
        async with asyncio.timeout(40):
            while active := await store.active_jobs():
                await store.wait_beyond(active[-1].id, active[-1].seq)


async def test_deleted_session_takes_no_more_work(tmp_path: Path) -> None:
    async with world(tmp_path, GO) as w:
        old = await w.say("/claude demo go")
        await w.done(old)
        asked = await w.say("/rdev delete", old.thread)
        deleting = asyncio.create_task(w.service.answer(asked.asks[0].id, "yes", ME))
        await asyncio.sleep(0.02)  # it has begun
        between = await w.say("go on", old.thread)
        assert "is deleted" in (await deleting).text
        assert "go-" not in text_of(w.events(between))
        if between.job:
            assert (await w.done(between)).reason == "its session was deleted"

        assert "Nothing goes on here" in (await w.say("go on", old.thread)).text
        loose = await w.say("/shell demo pwd", old.thread)
        await w.done(loose)
        assert text_of(w.events(loose)) == "/workspace/worktrees/scratch\n"
        assert not (await w.say("/claude demo go", old.thread)).error


async def test_second_confirmation_does_not_delete_the_next_session_of_that_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo true"))
        asks = [(await w.say("/rdev delete demo/scratch")).asks[0].id for _ in "12"]
        await w.service.answer(asks[0], "yes", ME)
        await w.done(await w.say("/shell demo echo mine > mine"))

        assert "was deleted before" in (await w.service.answer(asks[1], "yes", ME)).text
        listed = await w.say("/shell demo ls")
        await w.done(listed)
        assert "mine" in text_of(w.events(listed))


async def test_refusal_is_a_sentence_also_where_it_cannot_be_recorded(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with locked(tmp_path):
            refused = await w.say("/shell demo ls", actor="local:viewer")

        assert "may not run anything in demo" in refused.text


async def test_thread_tells_a_stranger_nothing_of_its_project(tmp_path: Path) -> None:
    url = str(make_remote(tmp_path))
    rights = {"hidden": {"admin": [ME]}, "other": {"admin": ["local:other"]}}
    projects = {name: {"url": url, "rights": who} for name, who in rights.items()}
    async with world(tmp_path, sections={"projects": projects}) as w:
        theirs = await w.say("/shell hidden true")
        await w.done(theirs)

        for text in ("go on", "/rdev logs", "/rdev stop", "/rdev diff"):
            told = await w.say(text, theirs.thread, actor="local:other")
            assert told.text == (await w.say(text, "no/thread", actor="local:other")).text


async def test_logs_show_the_end_of_a_long_output(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        reply = await w.say("/shell demo seq 1500000")
        await w.done(reply)

        assert "\n1500000\n" in (await w.say(f"/rdev logs {reply.job}")).text
