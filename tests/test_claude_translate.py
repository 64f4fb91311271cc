"""Claude's lines become events without loss, whatever comes between them and wherever the reader starts again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recorded import NAMES, lines, objects

from executor.claude_commands import Ack, AckState
from executor.claude_translate import Translation, Translator
from executor.events import Event, Notice, Text, ToolEnded, ToolStarted, Usage, encode


def translated(journal: Iterable[bytes]) -> list[Translation]:
    translator = Translator()
    return [translator.feed(line) for line in journal]


def events(journal: Iterable[bytes]) -> list[Event]:
    return [event for translation in translated(journal) for event in translation.events]


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def delta(said: str) -> bytes:
    return stream({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}})


def stream(event: dict[str, Any]) -> bytes:
    return line(type="stream_event", event=event, parent_tool_use_id=None)


def started(message: str = "m1") -> list[bytes]:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [stream({"type": "message_start", "message": {"id": message}}), stream(block)]


def assistant(*content: dict[str, Any], message: str = "m1") -> bytes:
    return line(type="assistant", message={"id": message, "content": content}, parent_tool_use_id=None)


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def shown(found: Iterable[Event]) -> str:
    return "".join(event.text for event in found if isinstance(event, Text))


def blocks(name: str, role: str, kind: str) -> list[dict[str, Any]]:
    return [
        block
        for event in objects(name)
        if event["type"] == role and not event.get("isReplay") and isinstance(event["message"]["content"], list)
        for block in event["message"]["content"]
        if block["type"] == kind
    ]


@pytest.mark.parametrize("name", NAMES)
def test_all_that_claude_said_is_shown_once(name: str) -> None:
    assert shown(events(lines(name))) == "".join(block["text"] for block in blocks(name, "assistant", "text"))


@pytest.mark.parametrize("name", NAMES)
def test_each_block_of_text_is_ended(name: str) -> None:
    texts = [event for event in events(lines(name)) if isinstance(event, Text)]
    assert sum(1 for event in texts if event.end) == len(blocks(name, "assistant", "text"))
    assert not texts or texts[-1].end


@pytest.mark.parametrize("name", NAMES)
def test_every_tool_call_starts_and_ends(name: str) -> None:
    found = events(lines(name))
    calls = [event for event in found if isinstance(event, ToolStarted)]
    ends = [event for event in found if isinstance(event, ToolEnded)]
    assert [call.id for call in calls] == [block["id"] for block in blocks(name, "assistant", "tool_use")]
    assert [json.loads(call.detail) for call in calls] == [b["input"] for b in blocks(name, "assistant", "tool_use")]
    results = blocks(name, "user", "tool_result")
    assert [(end.id, end.ok) for end in ends] == [(b["tool_use_id"], not b.get("is_error")) for b in results]
    assert not any(end.cut for end in ends)


@pytest.mark.parametrize("name", NAMES)
def test_every_request_is_asked_and_every_result_told(name: str) -> None:
    found, recorded = translated(lines(name)), objects(name)
    requests = [event["request_id"] for event in recorded if event["type"] == "control_request"]
    assert [ask.request_id for translation in found for ask in translation.asks] == requests
    results = [event for event in recorded if event["type"] == "result"]
    told = [translation.result for translation in found if translation.result]
    assert [result.usage.cost_usd for result in told] == pytest.approx(
        [sum(model["costUSD"] for model in event["model_usage_since_last_result"].values()) for event in results]
    )
    assert sum(1 for event in events(lines(name)) if isinstance(event, Usage)) == len(results)
    if results:
        before = 0.0008 if name == "ctl_dupresume_329.log" else 0  # a resumed total goes on from the last process
        assert sum(result.usage.cost_usd for result in told) == pytest.approx(results[-1]["total_cost_usd"] - before)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_recorded_is_unknown(name: str) -> None:
    translator = Translator()
    for recorded in lines(name):
        translator.feed(recorded)
    assert translator.unknown == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_may_start_again_after_any_line(name: str) -> None:
    journal = lines(name)
    in_one_go = Translator()
    expected = [(in_one_go.feed(recorded), in_one_go.idle) for recorded in journal]
    state = ""
    for recorded, (translation, idle) in zip(journal, expected, strict=True):
        again = Translator(state)
        assert again.feed(recorded) == translation
        assert again.idle is idle
        state = again.state()
    assert state == in_one_go.state()


@pytest.mark.parametrize("name", NAMES)
def test_the_state_holds_none_of_the_conversation(name: str) -> None:
    translator = Translator()
    strings: set[str] = set()
    for recorded in lines(name):
        translator.feed(recorded)
        strings |= set(_strings(json.loads(translator.state() or "{}")))
    words = {"streams", "commands", "total", "running", "results", "background", "waiting", "done", "told", "turns"}
    words |= {"message", "seen", "open", "shown", "queued", "started", ""}
    ids = {value for value in strings - words if value[:4] in ("msg_", "tool") or len(value) == 36}
    assert strings - words == ids


def _strings(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)


STRANGE = [
    line(type="stream_event", event={"type": "new_kind_of_event"}),
    line(type="assistant", message={"id": "x", "content": [{"type": "hologram", "text": "boo"}]}),
    line(type="system", subtype="weather", text="fine"),
    line(type="telepathy", message={"content": [{"type": "text", "text": "boo"}]}),
    line(type="system", subtype="padding", text="x" * 10_500_000),
    b"\n",
]


@pytest.mark.parametrize("name", NAMES)
def test_unknown_events_and_very_long_lines_change_nothing_else(name: str) -> None:
    journal, strange = lines(name), [*STRANGE[:4], STRANGE[5]]
    mixed = [part for recorded in journal for part in (*strange, recorded)]
    middle = len(mixed) // 2
    mixed.insert(middle, STRANGE[4])
    assert events(mixed) == events(journal)
    assert [t.result for t in translated(mixed) if t.result] == [t.result for t in translated(journal) if t.result]


def test_unknown_lines_are_counted() -> None:
    translator = Translator()
    for strange in STRANGE:
        translator.feed(strange)
    assert translator.unknown == 4
    assert Translator(translator.state()).unknown == 4


def test_an_unreadable_line_is_told_once() -> None:
    journal = [b'{"type":"assis', b"Segmentation fault\n", b"[1,2]\n", b"\xff\xfe\n", b"[" * 100_000]
    assert [event.code for event in events(journal) if isinstance(event, Notice)] == ["garbled"]
    again = Translator(_state_after(journal[:1]))
    assert again.feed(journal[1]).events == ()


def _state_after(journal: Iterable[bytes]) -> str:
    translator = Translator()
    for recorded in journal:
        translator.feed(recorded)
    return translator.state()


def test_a_very_long_answer_comes_in_pieces_and_whole() -> None:
    long = "wörd " * 400_000
    found = [event for event in events([assistant(said(long))]) if isinstance(event, Text)]
    assert "".join(event.text for event in found) == long
    assert max(len(encode(event)) for event in found) < 100_000
    assert [event.end for event in found].count(True) == 1


def test_a_huge_result_is_cut_to_its_beginning_and_end() -> None:
    huge = "first line\n" + "ä" * 6_000_000 + "\nlast line"
    result = {"type": "tool_result", "tool_use_id": "t1", "content": huge, "is_error": False}
    (end,) = events([line(type="user", message={"content": [result]})])
    assert isinstance(end, ToolEnded)
    assert end.cut
    assert len(end.output.encode()) <= 16 * 1024
    assert end.output.startswith("first line\n")
    assert end.output.endswith("\nlast line")


def test_a_huge_input_is_shortened_and_stays_json() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "a.py", "content": "é" * 3_000_000}}
    (tool,) = events([assistant(call)])
    assert isinstance(tool, ToolStarted)
    assert tool.title == "a.py"
    assert len(tool.detail.encode()) <= 16 * 1024
    assert json.loads(tool.detail)["file_path"] == "a.py"


def test_text_that_no_encoder_accepts_is_mended() -> None:
    (text,) = events([assistant(said("a\ud83d b\0c 😀"))])
    assert isinstance(text, Text)
    assert text.text == "a\ufffd b\ufffdc 😀"
    assert sqlite3.connect(":memory:").execute("SELECT ?", (text.text,)).fetchone() == (text.text,)


def test_a_block_cut_off_before_its_end_is_completed_from_the_whole() -> None:
    journal = [*started(), delta("Hello"), assistant(said("Hello there")), stream({"type": "content_block_stop"})]
    found = events(journal)
    assert shown(found) == "Hello there"
    assert [event.end for event in found if isinstance(event, Text)] == [False, False, True]


def test_a_block_that_was_not_streamed_is_shown_beside_one_that_was() -> None:
    journal = [*started(), delta("Hello"), assistant(said("Hello"), said("A second block"))]
    assert shown(events(journal)) == "HelloA second block"


def test_the_end_of_a_turn_ends_what_was_being_said() -> None:
    found = [event for event in events([*started(), delta("Hel"), result()]) if isinstance(event, Text)]
    assert [event.end for event in found] == [False, True]


def test_an_error_of_a_tool_is_shown_without_its_wrapping() -> None:
    failed = {
        "type": "tool_result",
        "tool_use_id": "t",
        "is_error": True,
        "content": "<tool_use_error>No.</tool_use_error>",
    }
    assert events([line(type="user", message={"content": [failed]})]) == [ToolEnded("t", False, "No.")]


def test_a_message_that_begins_again_is_announced() -> None:
    stop = line(type="stream_event", event={"type": "message_stop"}, abandoned_blocks={"from_block_index": 0})
    found = events([*started(), delta("Hel"), stop, *started("m2"), delta("Hello")])
    assert [type(event) for event in found] == [Text, Text, Notice, Text]


def test_thinking_is_not_shown() -> None:
    thought = stream({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "secretly"}})
    assert events([*started(), thought, assistant({"type": "thinking", "thinking": "secretly"})]) == []


@pytest.mark.parametrize(
    ("name", "given", "title"),
    [
        ("Bash", {"command": "\n  pytest -q\nls", "description": "Test"}, "pytest -q"),
        ("Edit", {"file_path": "a/b.py", "old_string": "x"}, "a/b.py"),
        ("Grep", {"pattern": "def .*", "path": "."}, "def .*"),
        ("Task", {"description": "Look around", "prompt": "…"}, "Look around"),
        ("TodoWrite", {"todos": [{"status": "completed"}, {"status": "in_progress", "activeForm": "Testing"}]},
         "1 of 2 done: Testing"),
        ("mcp__db__query", {"query": "SELECT 1"}, "SELECT 1"),
        ("Unheard", {"depth": 3}, ""),
        ("Bash", {"command": 7}, ""),
    ],
)  # fmt: skip
def test_a_tool_call_has_one_line_to_its_name(name: str, given: dict[str, Any], title: str) -> None:
    (tool,) = events([assistant({"type": "tool_use", "id": "t", "name": name, "input": given})])
    assert isinstance(tool, ToolStarted)
    assert (tool.name, tool.title) == (name, title)


def test_a_retry_says_what_failed_and_how_long_it_waits() -> None:
    event = line(type="system", subtype="api_retry", attempt=3, max_retries=10, retry_delay_ms=4017, error_status=529)
    assert events([event]) == [Notice("warning", "retry", "API overloaded (529), retry 3 of 10 in 4 s")]


def test_a_limit_says_when_it_resets() -> None:
    found = [event for event in events(lines("ratelimit_rejected_claude329.jsonl")) if isinstance(event, Notice)]
    assert found == [Notice("error", "limit", "The 5-hour limit is reached; it resets at 2026-11-21 11:20 UTC")]


def result(**fields: Any) -> bytes:
    return line(**{"type": "result", "subtype": "success", "is_error": False, **fields})


@pytest.mark.parametrize(
    ("fields", "reason", "sentence"),
    [
        ({"result": "fine"}, "success", ""),
        ({"is_error": True, "api_error_status": 529, "result": "API Error: 529 Overloaded"}, "api",
         "API Error: 529 Overloaded"),
        ({"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_tools",
          "errors": ["[ede_diagnostic] x"]}, "interrupted", "The turn was interrupted."),
        ({"is_error": False, "terminal_reason": "aborted_tools"}, "interrupted", "The turn was interrupted."),
        ({"subtype": "error_max_budget_usd", "is_error": True, "total_cost_usd": 1.5}, "budget",
         "The budget of this job is used up: $1.50 spent."),
        ({"subtype": "error_during_execution", "is_error": True, "errors": ["No conversation found"]}, "error",
         "No conversation found"),
        ({"subtype": "error_of_next_year", "errors": []}, "error", "Claude Code ended the turn with an error."),
    ],
)  # fmt: skip
def test_the_end_of_a_turn_is_a_sentence(fields: dict[str, Any], reason: str, sentence: str) -> None:
    (translation,) = translated([result(**fields)])
    assert translation.result is not None
    assert (translation.result.ok, translation.result.reason) == (reason == "success", reason)
    assert translation.result.sentence == sentence


def test_without_usage_since_the_last_result_the_cost_is_the_difference() -> None:
    translator = Translator()
    translator.feed(result(total_cost_usd=0.5))
    translation = Translator(translator.state()).feed(result(total_cost_usd=0.75, usage={"input_tokens": 7}))
    assert translation.result is not None
    assert (translation.result.usage.cost_usd, translation.result.usage.input_tokens) == (0.25, 7)


def test_a_withdrawn_request_is_told() -> None:
    (translation,) = translated([line(type="control_cancel_request", request_id="r1")])
    assert translation.withdrawn == ("r1",)


def test_a_request_nobody_knows_is_told_to_people() -> None:
    (translation,) = translated([line(type="control_request", request_id="r1", request={"subtype": "dance"})])
    assert translation.asks == ()
    assert [event.code for event in translation.events if isinstance(event, Notice)] == ["unsupported"]


def lifecycle(uuid: str, state: str) -> bytes:
    return line(type="command_lifecycle", command_uuid=uuid, state=state)


def test_it_is_idle_only_when_nothing_sent_is_still_to_be_done() -> None:
    translator = Translator()
    translator.expect("u1")
    for told in (lifecycle("u1", "queued"), lifecycle("u1", "started"), line(type="system", subtype="init")):
        translator.feed(told)
        assert not translator.idle
    translator.expect("u2")
    for told in (result(), lifecycle("u1", "completed"), lifecycle("u2", "queued"), lifecycle("u2", "started")):
        translator.feed(told)
        assert not translator.idle
    translator.feed(result())
    translator.feed(lifecycle("u2", "completed"))
    assert translator.idle


def test_a_turn_that_begins_by_itself_is_waited_for() -> None:
    translator = Translator(_state_after([result()]))
    translator.feed(line(type="system", subtype="init"))
    assert not translator.idle


def test_a_message_sent_again_after_it_was_done_is_not_waited_for() -> None:
    translator = Translator(_state_after([lifecycle("u1", "queued"), result(), lifecycle("u1", "completed")]))
    translator.expect("u1")
    replay = line(type="user", message={"role": "user", "content": "x"}, uuid="u1", isReplay=True)
    assert translator.feed(replay).acks == ()
    assert translator.idle


def test_an_older_cli_tells_by_its_results_what_is_done() -> None:
    translator = Translator()
    translator.expect("u1")
    translator.feed(line(type="user", message={"role": "user", "content": "x"}, uuid="u1", isReplay=True))
    assert not translator.idle
    assert translator.feed(result()).acks == (Ack("u1", AckState.COMPLETED),)
    assert translator.idle


def test_how_far_a_message_is_is_told_once() -> None:
    found = [ack.state for translation in translated(lines("ctl_followup.log")) for ack in translation.acks]
    assert found == ["queued", "started", "queued", "started", "completed", "completed"]
    again = [lifecycle("u1", state) for state in ("queued", "completed", "completed", "queued")]
    assert [ack.state for translation in translated(again) for ack in translation.acks] == ["queued", "completed"]


def test_turns_that_the_cli_still_has_are_waited_for() -> None:
    translator = Translator(_state_after([result(queued_turn_count=1)]))
    assert not translator.idle
    translator.feed(result(queued_turn_count=0))
    assert translator.idle


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({key for name in NAMES for event in objects(name) for key in event if key != "type"})
TYPES = sorted({event["type"] for name in NAMES for event in objects(name)})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))))
@example([("result", {"total_cost_usd": float("inf"), "num_turns": 10**400})])
@example([("system", {"subtype": "api_retry", "attempt": "three"})])
@example([("rate_limit_event", {"rate_limit_info": {"status": "rejected", "resetsAt": 1e300}})])
@example([("control_request", {"request": {"subtype": "can_use_tool", "tool_name": "AskUserQuestion", "input": 1}})])
def test_no_shape_of_a_line_breaks_the_reader(journal: list[tuple[str, dict[str, Any]]]) -> None:
    translator = Translator()
    for kind, fields in journal:
        for event in translator.feed(line(**{**fields, "type": kind})).events:
            encode(event).encode()
        translator = Translator(translator.state())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_a_damaged_field_breaks_nothing(name: str, data: st.DataObject) -> None:
    recorded = data.draw(st.sampled_from(objects(name)))
    where: Any = recorded
    while True:
        key = data.draw(st.sampled_from(sorted(where) if isinstance(where, dict) else range(len(where))))
        if not isinstance(where[key], dict | list) or not where[key] or data.draw(st.booleans()):
            where[key] = data.draw(JSON)
            break
        where = where[key]
    for event in Translator().feed(line(**recorded)).events:
        encode(event).encode()
