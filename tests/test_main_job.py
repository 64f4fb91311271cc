"""The main job, end to end: real CLI, sandbox, squid, git remote, store and audit; a script plays the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from world import KEY, ME, git, text_of, world

from executor.events import (
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    FollowUp,
    Notice,
    Output,
    Pushed,
    ToolEnded,
    ToolStarted,
    Usage,
)

FIX = {
    "fix": [
        [{"say": "I look first. "}, {"tool": "Bash", "input": {"command": "cat README.md"}}],
        {"tool": "Bash", "input": {"command": "echo fixed > README.md; echo new > added.txt"}},
        {"say": "It is fixed."},
    ]
}


async def test_claude_changes_files_and_the_commit_reaches_the_remote(tmp_path: Path) -> None:
    async with world(tmp_path, FIX) as w:
        reply = await w.say("/claude demo fix the readme")
        done = await w.done(reply)
        events = w.events(reply)

        assert done.state == "succeeded", done
        assert text_of(events) == "I look first. It is fixed."
        assert next(e.title for e in events if isinstance(e, ToolStarted)) == "cat README.md"
        assert all(e.ok for e in events if isinstance(e, ToolEnded))
        commit = next(e for e in events if isinstance(e, Committed))
        pushed = next(e for e in events if isinstance(e, Pushed))
        assert commit.commit == pushed.commit
        assert w.git("show", f"{pushed.branch}:README.md") == "fixed\n"
        message = w.git("log", "-1", "--format=%B", pushed.branch)
        assert message.startswith("fix the readme\n")
        assert f"Rdev-Actor: {ME}" in message
        assert f"Rdev-Job: {reply.job}" in message
        assert w.git("log", "-1", "--format=%s", "main") == "seed\n"
        usage = next(e for e in events if isinstance(e, Usage))
        assert usage.cost_usd > 0
        assert done.cost_usd == pytest.approx(usage.cost_usd)
        assert isinstance(events[-1], Completed)
        assert [entry.seq for entry in w.entries(reply.thread)] == list(range(1, len(events) + 1))


async def test_every_request_to_the_model_has_the_key_that_only_squid_knows(tmp_path: Path) -> None:
    async with world(
        tmp_path,
        {"env": [{"tool": "Bash", "input": {"command": "env; cat /proc/*/environ | tr '\\0' '\\n'"}}, {"say": "done"}]},
    ) as w:
        reply = await w.say("/claude demo show the env")

        assert (await w.done(reply)).state == "succeeded"
        assert KEY not in "".join(e.output for e in w.events(reply) if isinstance(e, ToolEnded))
        assert "rdev-holds-the-key" in "".join(e.output for e in w.events(reply) if isinstance(e, ToolEnded))


async def test_reply_in_the_thread_goes_on_with_the_session(tmp_path: Path) -> None:
    script = {**FIX, "what": [{"say": "I fixed the readme."}]}
    async with world(tmp_path, script) as w:
        first = await w.say("/claude demo fix the readme")
        await w.done(first)
        second = await w.say("what did you do?", first.thread)

        assert (await w.done(second)).state == "succeeded"
        assert second.thread == first.thread
        assert text_of(w.events(second)) == "I fixed the readme."
        assert not [e for e in w.events(second) if isinstance(e, Committed)]


async def test_question_waits_for_a_person_and_the_answer_reaches_claude(tmp_path: Path) -> None:
    script = {
        "paint": [{"ask": [{"question": "Which colour?", "options": ["Red", "Blue"]}]}, {"say": "Answer: $RESULT"}]
    }
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo paint it")
        ask = await w.asked(reply)

        assert (ask.kind, ask.title, ask.choices) == ("question", "Which colour?", ("Red", "Blue"))
        refused = await w.service.answer(ask.id, "Red", "local:viewer")
        assert refused.error
        assert "may not" in refused.text
        assert not (await w.service.answer(ask.id, "Blue", ME)).error
        assert (await w.done(reply)).state == "succeeded"
        assert '"Which colour?"="Blue"' in text_of(w.events(reply))
        late = await w.service.answer(ask.id, "Red", ME)
        assert late.text == f"{ME} has answered this already: Blue."
        closed = next(e for e in w.events(reply) if isinstance(e, AskClosed))
        assert (closed.outcome, closed.answer, closed.actor) == ("answered", "Blue", ME)


async def test_message_during_the_run_reaches_the_running_claude(tmp_path: Path) -> None:
    script = {
        "count": [{"tool": "Bash", "input": {"command": "sleep 1.5; echo counted"}}, {"say": "Counted."}],
        "also": [{"say": "And that too."}],
    }
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo count the files")
        await w.until(reply, ToolStarted)
        more = await w.say("also list them", reply.thread)

        assert more.text == "Claude reads this at its next step."
        assert more.job == reply.job
        done = await w.done(reply)
        assert done.state == "succeeded"
        assert [e.text for e in w.events(reply) if isinstance(e, FollowUp)] == ["also list them"]
        assert "And that too." in text_of(w.events(reply))


async def test_stop_ends_the_job_and_keeps_its_files(tmp_path: Path) -> None:
    script = {"slow": [{"tool": "Bash", "input": {"command": "echo half > half.txt; sleep 600"}}, {"say": "never"}]}
    async with world(tmp_path, script) as w:
        reply = await w.say("/claude demo slow work")
        await w.until(reply, ToolStarted)
        stopped = await w.say("/rdev stop", reply.thread)

        assert stopped.text == f"Stopped: {reply.job}."
        done = await w.done(reply)
        assert (done.state, done.reason) == ("cancelled", f"stopped by {ME}")
        again = await w.say("/rdev resume", reply.thread)
        assert (await w.done(again)).state in ("succeeded", "failed")


async def test_shell_runs_in_the_sandbox_and_its_exit_code_is_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        reply = await w.say("/shell demo pwd; echo oops >&2; cat README.md; exit 7")
        done = await w.done(reply)

        assert (done.state, done.exit_code) == ("failed", 7)
        assert text_of(w.events(reply)) == "/workspace/worktrees/scratch\noops\nhello\n"


async def test_git_works_in_the_session_and_its_push_is_ours(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo echo more >> README.md"))
        log = await w.say("/git demo log -1 --format='%s by %an'")
        assert (await w.done(log)).state == "succeeded"
        assert text_of(w.events(log)).startswith("echo more >> README.md by")
        push = await w.say("/git demo push")
        assert (await w.done(push)).state == "succeeded"
        assert w.git("show", "rdev/scratch:README.md") == "hello\nmore\n"
        assert "nothing else" in (await w.say("/git demo push origin main")).text
        git("commit", "-q", "--allow-empty", "-m", "theirs", cwd=tmp_path / "seed")
        git("push", "-q", str(w.remote), "main", cwd=tmp_path / "seed")
        pull = await w.say("/git demo pull --rebase")
        assert (await w.done(pull)).state == "succeeded"
        log = await w.say("/git demo log --format=%s")
        await w.done(log)
        assert text_of(w.events(log)) == "echo more >> README.md\ntheirs\nseed\n"


async def test_push_waits_for_approval_where_the_project_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, FIX, push="ask") as w:
        reply = await w.say("/claude demo fix it", actor="local:runner")
        assert (await w.done(reply)).state == "succeeded"
        ask = next(e for e in w.events(reply) if isinstance(e, AskRaised))

        assert (await w.service.answer(ask.id, "push", "local:runner")).error
        assert "rdev/" not in w.git("branch")
        pushed = await w.service.answer(ask.id, "push", "local:approver")
        assert (await w.done(pushed)).state == "succeeded"
        assert "rdev/fix-it" in w.git("branch")
        assert (await w.say("/rdev asks demo")).text == "Nothing waits for an answer."


async def test_refused_domain_is_told_asked_and_granted_at_once(tmp_path: Path) -> None:
    async with TestServer(web.Application()) as host, world(tmp_path) as w:
        where = f"new.example.org:{host.port}"
        ask_for_it = f"curl -sS -o /dev/null -w '%{{http_code}} ' http://{where}/"
        reply = await w.say(f"/shell demo for i in $(seq 10); do {ask_for_it}; sleep 0.3; done")
        ask = await w.asked(reply)
        assert ask.kind == "domain"
        assert ask.title == f"May it reach {where}?"
        granted = await w.service.answer(ask.id, "this session", ME)
        assert granted.text == f"This session may reach {where} from now on."
        await w.done(reply)
        notice = next(e for e in w.events(reply) if isinstance(e, Notice))
        assert f"/rdev allow {where}" in notice.text
        codes = "".join(e.text for e in w.events(reply) if isinstance(e, Output)).split()
        assert codes[0] == "403"
        assert codes[-1] == "404"  # the host's own answer


async def test_rewind_puts_the_files_back(tmp_path: Path) -> None:
    async with world(tmp_path, FIX) as w:
        reply = await w.say("/claude demo fix it")
        await w.done(reply)
        listed = await w.say("/rdev checkpoints", reply.thread)
        number = listed.text.split()[0]
        back = await w.say(f"/rdev rewind {number}", reply.thread)
        assert "as they were" in back.text, back
        session = reply.thread.partition("/")[2]
        shown = await w.say("/shell demo cat README.md; ls", reply.thread)
        await w.done(shown)
        assert text_of(w.events(shown)) == "hello\nREADME.md\n", session


async def test_same_message_twice_runs_once(tmp_path: Path) -> None:
    async with world(tmp_path, FIX) as w:
        first = await w.say("/claude demo fix it", again="m1")
        again = await w.say("/claude demo fix it", again="m1")

        assert again.text == "This was accepted already."
        await w.done(first)
        assert (await w.say("/rdev jobs demo")).text.count("claude in") == 1


@pytest.mark.parametrize(
    ("text", "actor", "sentence"),
    [
        ("/claude dmo fix", ME, "Did you mean “demo”?"),
        ("/claude demo", ME, "What should be done"),
        ("hello", ME, "Begin with /claude"),
        ("/claude demo fix", "local:viewer", "may not run anything in demo; ask local:0"),
        ("/claude demo fix", "local:stranger", "You may not use any project here"),
        ("/rdev status", "local:stranger", "no project that you may see"),
        ("/rdev stop demo --purge", "local:runner", "may not administer"),
        ("/rdev audit", "local:runner", "for those who administer"),
        ("/rdev stop nothing-here", ME, "There is no session"),
    ],
)
async def test_mistake_or_missing_right_gets_a_sentence(tmp_path: Path, text: str, actor: str, sentence: str) -> None:
    async with world(tmp_path) as w:
        reply = await w.say(text, actor=actor)

        assert sentence in reply.text
        assert not reply.job


async def test_purge_asks_first_and_then_removes_the_workspace(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.done(await w.say("/shell demo echo x > untracked"))
        asked = await w.say("/rdev stop demo --purge")
        assert len(asked.asks) == 1
        gone = await w.service.answer(asked.asks[0].id, "yes", ME)
        assert gone.text == "The box and the workspace of demo are gone."
        again = await w.say("/shell demo ls")
        await w.done(again)
        assert text_of(w.events(again)) == "README.md\n"


async def test_audit_log_tells_every_act(tmp_path: Path) -> None:
    async with world(tmp_path, FIX) as w:
        await w.done(await w.say("/claude demo fix it"))
        audit = (await w.say("/rdev audit demo")).text

        assert "claude" in audit
        assert "accepted" in audit
        assert "succeeded" in audit


async def test_unfinished_work_goes_on_after_the_service_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        reply = await w.say("/shell demo for i in $(seq 20); do echo line $i; sleep 0.1; done")
        await w.until(reply, Output)
    async with world(tmp_path) as w:
        done = await w.done(reply)

        assert done.state == "succeeded"
        assert text_of(w.events(reply)) == "".join(f"line {i}\n" for i in range(1, 21))
