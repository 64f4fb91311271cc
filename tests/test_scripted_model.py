"""The scripted model answers as the real API does, and follows its script whatever happens between two requests."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.script import Cut, Delay, Fail, Say, Script, Step, Think, UseTool, ask, load, plan, prompt
from bot.scripted_model import KEPT_REQUESTS, ScriptedModel

VERSION = {"anthropic-version": "2023-06-01"}
MARKED = {"role": "user", "content": "fix it"}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 10, "messages": list(messages) or [MARKED], **fields}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(*ids: str) -> dict[str, Any]:
    blocks = [{"type": "tool_use", "id": name, "name": "Bash", "input": {}} for name in ids]
    return {"role": "assistant", "content": blocks}


def returned(*ids: str, content: str = "ok") -> dict[str, Any]:
    blocks = [{"type": "tool_result", "tool_use_id": name, "content": content} for name in ids]
    return {"role": "user", "content": blocks}


async def post(model: ScriptedModel, payload: Any, **headers: str) -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{model.url}/v1/messages", json=payload, headers={**VERSION, **headers}) as response,
    ):
        return response.status, await response.json(), response.headers


async def streamed(model: ScriptedModel, payload: Any) -> list[tuple[str, dict[str, Any]]]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{model.url}/v1/messages", json={**payload, "stream": True}, headers=VERSION) as response,
    ):
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = [part.split("\n") for part in (await response.text()).split("\n\n") if part]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in events]


async def test_a_message_streams_as_the_api_streams_it() -> None:
    script = {"fix": [Think("hm"), Say("Hello"), UseTool("Bash", {"command": "ls"})]}
    async with ScriptedModel(script) as model:
        events = await streamed(model, body())
    kinds = [kind for kind, _ in events]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert all(kind == data["type"] for kind, data in events)
    starts = [data["content_block"]["type"] for kind, data in events if kind == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use"]
    deltas = [data["delta"] for kind, data in events if kind == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "Hello"
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"command": "ls"}
    (end,) = [data for kind, data in events if kind == "message_delta"]
    assert end["delta"]["stop_reason"] == "tool_use"
    assert end["usage"]["output_tokens"] > 0


async def test_a_message_comes_whole_where_nobody_streams() -> None:
    async with ScriptedModel({"fix": [Say("Hello")]}) as model:
        status, message, _ = await post(model, body())
    assert status == 200
    assert (message["role"], message["stop_reason"]) == ("assistant", "end_turn")
    assert message["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ([], "valid dictionary"),
        ({"max_tokens": 1, "messages": [MARKED]}, "model: Field required"),
        (body(max_tokens=0), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        ({"model": "m", "max_tokens": 1, "messages": []}, "at least one message"),
        (body({"role": "robot", "content": "x"}), "messages.0.role"),
        (body(user("")), "non-empty"),
        (body({"role": "user", "content": [{"type": "text", "text": ""}]}), "text content blocks must be non-empty"),
        (body({"role": "user", "content": [7]}), "messages.0.content.0"),
        (body(MARKED, called("t1"), user("so?")), "without `tool_result` blocks immediately after: t1"),
        (body(MARKED, called("t1"), returned("t2")), "t1"),
        (body(MARKED, returned("t1")), "unexpected `tool_use_id`"),
    ],
)
async def test_a_request_of_the_wrong_shape_is_refused(payload: Any, complaint: str) -> None:
    async with ScriptedModel({"fix": [Say("Hello")]}) as model:
        status, answer, _ = await post(model, payload)
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert complaint in answer["error"]["message"]
        assert model.requests[-1].status == 400


async def test_a_request_without_its_key_is_refused() -> None:
    async with ScriptedModel({"fix": [Say("Hello")]}, key="the key") as model:
        for headers in ({}, {"x-api-key": "another"}, {"Authorization": "Bearer another"}):
            status, answer, _ = await post(model, body(), **headers)
            assert (status, answer["error"]["type"]) == (401, "authentication_error")
        for headers in ({"x-api-key": "the key"}, {"Authorization": "Bearer the key"}):
            assert (await post(model, body(), **headers))[0] == 200


async def test_only_what_the_api_serves_is_found() -> None:
    async with ScriptedModel({}) as model, aiohttp.ClientSession() as http:
        async with http.head(f"{model.url}/") as response:
            assert response.status == 200
        for method, path in (("GET", "/"), ("GET", "/v1/messages"), ("POST", "/v1/complete")):
            async with http.request(method, f"{model.url}{path}") as response:
                assert response.status == 404
                assert (await response.json())["error"]["type"] == "not_found_error"


async def test_a_request_without_a_version_is_refused() -> None:
    async with (
        ScriptedModel({}) as model,
        aiohttp.ClientSession() as http,
        http.post(f"{model.url}/v1/messages", json=body()) as response,
    ):
        assert response.status == 400


async def test_a_failure_comes_as_often_as_the_script_says() -> None:
    limited = Fail(429, times=1, headers={"anthropic-ratelimit-unified-status": "rejected"})
    async with ScriptedModel({"fix": [Fail(529, times=2), limited, Say("At last")]}) as model:
        answers = [await post(model, body()) for _ in range(4)]
    assert [status for status, _, _ in answers] == [529, 529, 429, 200]
    assert answers[0][1]["error"]["type"] == "overloaded_error"
    assert answers[2][2]["anthropic-ratelimit-unified-status"] == "rejected"


async def test_a_failure_without_a_number_never_ends() -> None:
    async with ScriptedModel({"fix": [Fail(500)]}) as model:
        assert [(await post(model, body()))[0] for _ in range(5)] == [500] * 5


async def test_a_connection_is_cut_in_mid_stream_once() -> None:
    async with ScriptedModel({"fix": [Cut(after=4), Say("A text of a few pieces", chunk=5)]}) as model:
        with pytest.raises(aiohttp.ClientError):
            await streamed(model, body())
        kinds = [kind for kind, _ in await streamed(model, body())]
    assert kinds[-1] == "message_stop"


async def test_a_slow_answer_takes_its_time() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedModel({"fix": [Delay(0.1), Say("12345", pace=0.02, chunk=1)]}) as model:
        began = loop.time()
        await streamed(model, body())
    assert 0.2 <= loop.time() - began < 2


async def test_leaving_does_not_wait_for_a_slow_answer() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedModel({"fix": [Delay(60), Say("Too late")]}) as model:
        waiting = asyncio.create_task(post(model, body()))
        await asyncio.sleep(0.1)
        began = loop.time()
    assert loop.time() - began < 2
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_only_the_last_requests_are_kept() -> None:
    async with ScriptedModel({"fix": [Say("x")]}) as model, aiohttp.ClientSession() as http:
        for number in range(KEPT_REQUESTS + 5):
            async with http.post(f"{model.url}/v1/messages", json=body(max_tokens=number + 1), headers=VERSION):
                pass
        assert len(model.requests) == KEPT_REQUESTS
        assert model.requests[-1].body["max_tokens"] == KEPT_REQUESTS + 5


def said(script: Script, *messages: dict[str, Any]) -> list[Any]:
    return list(script.turn(messages)[2].blocks)


STEPS: Sequence[Step] = (Say("a"), UseTool("Bash", {}), (Say("b"), UseTool("Bash", {}), UseTool("Read", {})), Say("c"))
SCRIPT = Script({"fix": STEPS, "other": [Say("else")], "": [Say("Pardon?")]})


def test_the_conversation_says_which_step_is_next() -> None:
    assert said(SCRIPT, MARKED) == [Say("a"), UseTool("Bash", {})]
    second = (MARKED, called("1"), returned("1"))
    assert said(SCRIPT, *second) == [Say("b"), UseTool("Bash", {}), UseTool("Read", {})]
    third = (*second, called("2", "3"), returned("2", "3"))
    assert said(SCRIPT, *third) == [Say("c")]
    assert said(SCRIPT, *third, {"role": "assistant", "content": "c"}, MARKED) == [Say("a"), UseTool("Bash", {})]


def test_the_last_prompt_with_a_known_word_counts() -> None:
    assert said(SCRIPT, user("fix the others")) == said(SCRIPT, MARKED)
    assert said(SCRIPT, MARKED, called("1"), user("and the Other thing")) == [Say("else")]
    assert said(SCRIPT, user("fixing")) == [Say("Pardon?")]
    assert said(Script({"fix": STEPS}), user("what?")) == [Say("I have no script for that.")]


def test_only_a_persons_words_are_a_prompt() -> None:
    reminder = {"type": "text", "text": "<system-reminder>fix other</system-reminder>"}
    assert prompt({"role": "user", "content": [reminder, {"type": "text", "text": "hello"}]}) == "hello"
    assert prompt({"role": "system", "content": "Primary working directory: /fix"}) == ""
    assert prompt({"role": "assistant", "content": "fix"}) == ""
    assert prompt(returned("1", content="fix")) == ""
    told = "The user sent a new message while you were working:\nother\n\nThis is how Claude Code surfaces messages"
    assert prompt({"role": "system", "content": [{"type": "text", "text": told}]}) == "other"
    interrupted = "[Request interrupted by user for tool use]"
    assert prompt({"role": "user", "content": [{"type": "text", "text": interrupted}]}) == ""


def test_the_last_result_can_be_repeated() -> None:
    script = Script({"fix": [UseTool("Bash", {}), Say("So: $RESULT")]})
    assert said(script, MARKED, called("1"), returned("1", content="42")) == [Say("So: 42")]


def test_a_plan_goes_where_the_cli_wants_it() -> None:
    told = {"role": "system", "content": "Write your plan to /home/agent/.claude/plans/some-name.md first"}
    (write,) = said(Script({"fix": plan("1. Do it")}), MARKED, told)
    assert write.input["file_path"] == "/home/agent/.claude/plans/some-name.md"


def test_a_script_can_be_written_as_json() -> None:
    written = {
        "fix": [
            {"think": "hm"},
            {"say": "a", "pace": 0.5, "chunk": 3},
            {"tool": "Bash", "input": {"command": "ls"}},
            [{"say": "b"}, {"tool": "Read", "input": {"file_path": "x"}}],
            {"fail": 529, "times": 2},
            {"cut": 3},
            {"delay": 1},
            {"ask": [{"question": "Which one?", "options": ["A", "B"]}]},
            {"plan": "1. Do it"},
        ]
    }
    assert load(json.dumps(written)).steps["fix"] == (
        Think("hm"),
        Say("a", pace=0.5, chunk=3),
        UseTool("Bash", {"command": "ls"}),
        (Say("b"), UseTool("Read", {"file_path": "x"})),
        Fail(529, times=2),
        Cut(3),
        Delay(1),
        ask(("Which one?", ("A", "B"))),
        *plan("1. Do it"),
    )


@pytest.mark.parametrize("step", [{"shout": "a"}, {"say": "a", "volume": 11}, {"tool": "Bash"}, {}])
def test_an_unknown_step_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a step"):
        load(json.dumps({"fix": [step]}))


async def test_it_runs_as_a_program_until_told_to_stop(tmp_path: Path) -> None:
    script, key = tmp_path / "script.json", tmp_path / "key"
    script.write_text('{"fix": [{"say": "Hello"}]}')
    key.write_text("the key\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.scripted_model", "--script", script, "--key-file", key), stdout=-1
    )
    assert process.stdout is not None
    try:
        url = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["url"]
        headers = {**VERSION, "x-api-key": "the key"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{url}/v1/messages", json=body(), headers=headers) as response,
        ):
            assert (await response.json())["content"][0]["text"] == "Hello"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
