"""What is said to the CLI is what it takes: most of it tried on the pinned CLI itself, with a scripted model."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from pathlib import Path

import pytest
from claude_cli import running
from hypothesis import given
from hypothesis import strategies as st

from bot.script import Cut, Delay, Fail, Say, Script, Think, UseTool, ask, plan
from bot.scripted_model import ScriptedModel
from executor import claude
from executor.claude import Options
from executor.claude_asks import ALLOW, ALLOW_SESSION, APPROVE, DENY, KEEP_PLANNING, asks
from executor.events import Text, ToolEnded, ToolStarted

AGENT = {"description": "Look", "prompt": "explore", "subagent_type": "general-purpose"}
SCRIPT = Script(
    {
        "hello": [Think("a greeting"), Say("Hello, ", pace=0.01, chunk=3), Say("world.")],
        "list": [Say("Let me look."), UseTool("Bash", {"command": "echo one; echo two"}), Say("I saw: $RESULT")],
        "ask": [ask(("Which colour?", ("Red", "Blue")), ("How many?", ("1", "2"))), Say("So: $RESULT")],
        "plan": [*plan("# Plan\n1. Touch a file"), UseTool("Bash", {"command": "touch planned"}), Say("Did: $RESULT")],
        "touch": [
            UseTool("Bash", {"command": "touch touched"}),
            UseTool("Bash", {"command": "touch touched"}),
            Say("Then: $RESULT"),
        ],
        "wait": [
            UseTool("Bash", {"command": "until test -e go; do sleep 0.02; done"}),
            Say("Nobody came."),
        ],
        "meanwhile": [Say("I heard you.")],
        "sleep": [Say("I sleep."), UseTool("Bash", {"command": "sleep 30; echo late"}), Say("I woke.")],
        "busy": [Fail(529, times=1), Say("Served.")],
        "broken": [Fail(400, message="prompt is too long: 250000 tokens > 200000 maximum")],
        "limited": [
            Fail(
                429,
                headers={
                    "anthropic-ratelimit-unified-status": "rejected",
                    "anthropic-ratelimit-unified-reset": str(int(time.time()) + 3600),
                    "anthropic-ratelimit-unified-representative-claim": "five_hour",
                },
            )
        ],
        "cut": [Cut(after=4), Say("A sentence that is cut, then said again.", pace=0.03)],
        "expensive": [UseTool("Bash", {"command": "true"}), UseTool("Bash", {"command": "true"}), Say("Never said.")],
        "delegate": [
            UseTool("Agent", {**AGENT, "run_in_background": False}),
            Say("Delegated."),
        ],
        "behind": [
            UseTool("Agent", AGENT),
            Say("Started."),
        ],
        "explore": [Delay(0.2), UseTool("Bash", {"command": "echo inside"}), Say("Found it.")],
    }
)
ASK_EACH = Options("", permissions="ask")


def new(options: Options) -> Options:
    return Options(**{name: getattr(options, name) for name in Options.__slots__} | {"session_id": str(uuid.uuid4())})


async def test_text_streams_and_is_shown_once(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("hello there")
        await cli.idle()
        assert cli.text == "Hello, world."
        pieces = [event.text for event in cli.events if isinstance(event, Text)]
        assert pieces[:3] == ["Hel", "lo,", " "]
        assert await cli.end() == 0
    assert [result.ok for result in cli.results] == [True]
    assert cli.results[0].usage.cost_usd > 0
    assert cli.results[0].usage.output_tokens == 20


async def test_a_tool_is_shown_with_what_it_put_out(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("list the files")
        await cli.idle()
    (started,) = [event for event in cli.events if isinstance(event, ToolStarted)]
    (ended,) = [event for event in cli.events if isinstance(event, ToolEnded)]
    assert (started.name, started.title) == ("Bash", "echo one; echo two")
    assert (ended.id, ended.ok, ended.output) == (started.id, True, "one\ntwo")
    assert cli.text == "Let me look.I saw: one\ntwo"


async def test_a_session_goes_on_in_another_process(tmp_path: Path) -> None:
    options = Options(str(uuid.uuid4()))
    async with ScriptedModel(SCRIPT) as model:
        async with running(model.url, tmp_path, options) as cli:
            await cli.say("hello")
            await cli.idle()
            await cli.end()
        resumed = Options(options.session_id, resume=True, model="claude-sonnet-5-5", effort="high")
        async with running(model.url, tmp_path, resumed) as cli:
            await cli.say("list")
            await cli.idle()
        last = model.requests[-1].body
    assert "Hello, " in json.dumps(last["messages"])
    assert last["model"] == "claude-sonnet-5-5"
    assert cli.results[0].usage.output_tokens == 40


async def test_the_same_message_again_is_not_run_again(tmp_path: Path) -> None:
    options = Options(str(uuid.uuid4()))
    async with ScriptedModel(SCRIPT) as model:
        async with running(model.url, tmp_path, options) as cli:
            name = await cli.say("hello")
            await cli.idle()
            await cli.end()
        asked = len(model.requests)
        async with running(model.url, tmp_path, Options(options.session_id, resume=True)) as cli:
            cli.translator.expect(name)
            await cli.tell(claude.user("hello", name))
            await cli.idle()
            assert cli.acks[-1] == (name, "completed")
            assert await cli.end() == 0
        assert len(model.requests) == asked
    assert cli.text == ""


async def test_several_questions_are_answered_together(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("ask me")
        colour, number = await cli.asked(), await cli.asked()
        assert (colour.kind, colour.title, colour.choices) == ("question", "Which colour?", ("Red", "Blue"))
        assert claude.answer_line([(number.request, '"2"')]) is None
        assert claude.answer_line([(colour.request, '"Red"')]) is None
        line = claude.answer_line([(number.request, '"as many as you like"'), (colour.request, '["Red", "Blue"]')])
        assert line is not None
        await cli.tell(line)
        await cli.idle()
    assert '"Which colour?"="Red, Blue"' in cli.text
    assert '"How many?"="as many as you like"' in cli.text


async def test_an_approved_plan_goes_on_with_full_rights(tmp_path: Path) -> None:
    options = Options(str(uuid.uuid4()), plan=True)
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, options) as cli:
        await cli.say("plan it")
        asked = await cli.asked()
        assert (asked.kind, asked.body) == ("plan", "# Plan\n1. Touch a file")
        await cli.answer(asked, json.dumps(APPROVE))
        await cli.idle()
    assert (tmp_path / "repo/planned").exists()
    assert cli.asks == []


async def test_an_approved_plan_asks_for_each_tool_where_the_project_does(tmp_path: Path) -> None:
    options = Options(str(uuid.uuid4()), plan=True, permissions="ask")
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, options) as cli:
        await cli.say("plan it")
        await cli.answer(await cli.asked(), json.dumps(APPROVE))
        assert (await cli.asked()).kind == "permission"


@pytest.mark.parametrize(("answer", "heard"), [(KEEP_PLANNING, "Not yet"), ("Add tests first", "Add tests first")])
async def test_a_plan_may_be_sent_back(tmp_path: Path, answer: str, heard: str) -> None:
    options = Options(str(uuid.uuid4()), plan=True)
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, options) as cli:
        await cli.say("plan it")
        await cli.answer(await cli.asked(), json.dumps(answer))
        await cli.until(lambda cli: len(cli.outputs) == 2)
    assert cli.outputs[-1].startswith(heard)


async def test_a_tool_runs_when_it_is_allowed(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, new(ASK_EACH)) as cli:
        await cli.say("touch it")
        for _ in range(2):
            asked = await cli.asked()
            assert (asked.kind, asked.title, asked.body) == ("permission", "Bash: touch touched", "touch touched")
            await cli.answer(asked, json.dumps(ALLOW))
        await cli.idle()
    assert (tmp_path / "repo/touched").exists()


async def test_what_is_allowed_for_the_session_is_not_asked_again(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, new(ASK_EACH)) as cli:
        await cli.say("touch it")
        await cli.answer(await cli.asked(), json.dumps(ALLOW_SESSION))
        await cli.idle()
        assert cli.asks == []
    assert [event.ok for event in cli.events if isinstance(event, ToolEnded)] == [True, True]
    assert not (tmp_path / "repo/.claude").exists()


@pytest.mark.parametrize(("answer", "heard"), [(DENY, "does not allow this"), ("Use make instead", "Use make instead")])
async def test_a_tool_that_is_denied_does_not_run(tmp_path: Path, answer: str, heard: str) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, new(ASK_EACH)) as cli:
        await cli.say("touch it")
        for _ in range(2):
            await cli.answer(await cli.asked(), json.dumps(answer))
        await cli.idle()
    assert not (tmp_path / "repo/touched").exists()
    assert heard in cli.text
    assert not any(event.ok for event in cli.events if isinstance(event, ToolEnded))


async def test_a_follow_up_reaches_the_running_claude(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("wait for it")
        await cli.until(lambda cli: any(isinstance(event, ToolStarted) for event in cli.events))
        second = await cli.say("meanwhile, do this")
        await cli.until(lambda cli: (second, "queued") in cli.acks)
        (tmp_path / "repo/go").touch()
        await cli.idle()
    assert cli.text == "I heard you."
    assert (second, "completed") in cli.acks
    assert len(cli.results) == 1


async def test_an_interrupt_ends_the_turn_and_not_the_process(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("sleep a while")
        await cli.until(lambda cli: any(isinstance(event, ToolStarted) for event in cli.events))
        began = time.monotonic()
        await cli.tell(claude.interrupt("stop-1"))
        await cli.idle()
        assert time.monotonic() - began < 5
        assert (cli.results[0].ok, cli.results[0].reason) == (False, "interrupted")
        await cli.say("hello again")
        await cli.idle()
        assert cli.text == "I sleep.Hello, world."


async def test_an_interrupt_withdraws_the_ask_it_meets(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, new(ASK_EACH)) as cli:
        await cli.say("touch it")
        asked = await cli.asked()
        await cli.tell(claude.interrupt("stop-1"))
        await cli.idle()
    assert cli.withdrawn == [asked.request_id]


async def test_the_mode_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.tell(claude.set_permission_mode("mode-1", "default"))
        await cli.say("touch it")
        asked = await cli.asked()
        await cli.tell(claude.deny(asked.request_id, "Stop here.", interrupt=True))
        await cli.idle()
    assert cli.results[0].reason == "interrupted"


async def test_an_overloaded_api_is_shown_and_tried_again(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("busy?")
        await cli.idle()
    assert [notice.code for notice in cli.notices] == ["retry"]
    assert cli.notices[0].text.startswith("API overloaded (529), retry 1 of 10 in ")
    assert cli.text == "Served."


async def test_a_connection_cut_in_mid_sentence_is_told_and_begun_again(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("cut")
        await cli.idle()
    assert [notice.code for notice in cli.notices] == ["restart", "retry"]
    assert cli.text.endswith("A sentence that is cut, then said again.")


async def test_an_api_failure_is_the_turns_failure(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("broken")
        await cli.idle()
    assert (cli.results[0].ok, cli.results[0].reason) == (False, "api")
    assert "too long" in cli.results[0].sentence


async def test_a_usage_limit_is_told_with_its_reset(tmp_path: Path) -> None:
    dummy = {
        name: value for name, value in claude.environment(auth="oauth").items() if name.startswith("CLAUDE_CODE_O")
    }
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, ANTHROPIC_API_KEY="", **dummy) as cli:
        await cli.say("limited")
        await cli.idle()
        assert model.requests[-1].headers["Authorization"] == f"Bearer {claude.DUMMY_KEY}"
    assert [notice.code for notice in cli.notices] == ["limit"]
    assert "resets at" in cli.notices[0].text
    assert cli.results[0].reason == "limit"


async def test_a_budget_stops_the_turn(tmp_path: Path) -> None:
    options = Options(str(uuid.uuid4()), budget_usd=0.001)
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path, options) as cli:
        await cli.say("expensive")
        await cli.until(lambda cli: cli.results)
    assert cli.results[0].reason == "budget"
    assert "Never said." not in cli.text


async def test_a_subagents_tools_name_the_call_that_started_it(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("delegate it")
        await cli.idle()
    agent, inner = [event for event in cli.events if isinstance(event, ToolStarted)]
    assert (agent.title, inner.title) == ("Look", "echo inside")
    assert inner.parent == agent.id
    assert cli.text.endswith("Delegated.")
    assert cli.results[0].usage.output_tokens == 80


async def test_a_subagent_in_the_background_is_waited_for(tmp_path: Path) -> None:
    async with ScriptedModel(SCRIPT) as model, running(model.url, tmp_path) as cli:
        await cli.say("work behind")
        await cli.until(lambda cli: cli.results)
        assert not cli.translator.idle
        assert cli.translator.background == 1
        await cli.idle()
    assert "inside" in cli.outputs


async def test_loopback_is_direct_and_every_other_name_goes_to_the_proxy(tmp_path: Path) -> None:
    seen: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    script = {
        "fetch": [
            UseTool("Bash", {"command": "curl -sS -o /dev/null -w %{http_code} -I $ANTHROPIC_BASE_URL/"}),
            UseTool("Bash", {"command": "curl -sS https://a.test/; curl -sS http://b.test/"}),
            UseTool("ToolSearch", {"query": "select:WebFetch"}),
            UseTool("WebFetch", {"url": "https://c.test/", "prompt": "read"}),
            Say("Done."),
        ]
    }
    async with ScriptedModel(script) as model, await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        through = {
            name: value for name, value in claude.environment(proxy_url=address).items() if "proxy" in name.lower()
        }
        async with running(model.url, tmp_path, **through) as cli:
            await cli.say("fetch")
            await cli.idle()
    assert cli.outputs[0] == "200"
    assert seen == [
        "CONNECT a.test:443 HTTP/1.1\r\n",
        "GET http://b.test/ HTTP/1.1\r\n",
        "CONNECT c.test:443 HTTP/1.1\r\n",
    ]


def test_a_turn_that_plans_can_go_on_with_full_rights() -> None:
    line = claude.argv(Options("s", plan=True))
    assert line[line.index("--permission-mode") + 1] == "plan"
    assert "--allow-dangerously-skip-permissions" in line
    assert "--dangerously-skip-permissions" not in line


def test_a_project_that_asks_never_gives_full_rights() -> None:
    line = claude.argv(Options("s", permissions="ask"))
    assert line[line.index("--permission-mode") + 1] == "default"
    assert "--allow-dangerously-skip-permissions" not in line


def test_the_environment_holds_one_dummy_and_no_key() -> None:
    for auth, name in (("api-key", "ANTHROPIC_API_KEY"), ("oauth", "CLAUDE_CODE_OAUTH_TOKEN")):
        environment = claude.environment(auth=auth, max_retries=3)  # type: ignore[arg-type]
        assert [key for key, value in environment.items() if value == claude.DUMMY_KEY] == [name]
        assert environment["CLAUDE_CODE_MAX_RETRIES"] == "3"
        assert environment["NO_PROXY"] == environment["no_proxy"]


@given(st.text())
def test_a_message_is_one_line_whatever_it_says(text: str) -> None:
    line = claude.user(text, "u")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert json.loads(line)["message"]["content"] == text


def test_permission_rules_stay_in_the_session() -> None:
    rule = {"type": "addRules", "rules": [{"toolName": "Bash"}], "behavior": "allow", "destination": "localSettings"}
    mode = {"type": "setMode", "mode": "acceptEdits", "destination": "session"}
    place = {"type": "addDirectories", "directories": ["/x"], "destination": "session"}
    given = {"tool_name": "Bash", "input": {"command": "ls"}, "permission_suggestions": [rule, place, mode]}
    (asked,) = asks("r1", given)
    answer = claude.answer_line([(asked.request, json.dumps(ALLOW_SESSION))])
    assert answer is not None
    kept = json.loads(answer)["response"]["response"]["updatedPermissions"]
    assert kept == [{**rule, "destination": "session"}, place]
    (without,) = asks("r1", {**given, "permission_suggestions": [place, mode]})
    assert without.choices == (ALLOW, DENY)


def test_a_whole_input_is_shown_to_who_must_allow_it() -> None:
    (asked,) = asks("r1", {"tool_name": "Write", "input": {"file_path": "a.sh", "content": "rm -rf /\n" * 100}})
    assert asked.title == "Write: a.sh"
    assert asked.body.count("rm -rf /") == 100


def test_no_answer_but_allow_allows() -> None:
    (asked,) = asks("r1", {"tool_name": "Bash", "input": {"command": "ls"}})
    for answer in ("", "yes", "allow", "Allow once!", [], [ALLOW, ALLOW]):
        line = claude.answer_line([(asked.request, json.dumps(answer))])
        assert line is not None
        assert json.loads(line)["response"]["response"]["behavior"] == "deny"
