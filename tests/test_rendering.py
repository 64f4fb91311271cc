"""Lines read well, and nobody else's text can pass for one or reach the terminal."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.rendering import completed, count, diffstat, duration, excerpt, line, money, size, tool_ended
from bot.safetext import clean, one_line, reveal
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    FollowUp,
    Notice,
    Output,
    Pushed,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
    Usage,
)

BASH = ToolStarted("t1", "Bash", "python -m unittest")
EDIT = ToolStarted(
    "t2", "Edit", "calc.py", json.dumps({"file_path": "calc.py", "old_string": "a\nb\nc", "new_string": "a\nx\ny\nc"})
)
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
HOSTILE = st.text(
    alphabet=st.sampled_from("\x1b[]0;31m?hJ\x07\x9b\x9d\r\n\tab✓●\u202e\u2066\u2028\ud800\x00\x7f\x85\U000e0041")
)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Accepted("discord:7", "claude", "fix the test\n"), "› fix the test  discord:7"),
        (Accepted("local:0", "claude", "fix the test"), "› fix the test"),
        (FollowUp("local:0", "and the docs"), "› and the docs"),
        (Started("rdev/fix-auth"), "· on rdev/fix-auth"),
        (BASH, "● Bash  python -m unittest"),
        (ToolStarted("t", "mcp__tracker__find", "bug"), "● tracker find  bug"),
        (AskRaised("a", "permission", "Allow Bash?", "rm -rf build"), "? Allow Bash?"),
        (AskClosed("a", "answered", "allow", "local:0"), "✓ answered  allow"),
        (AskClosed("a", "expired"), "! not answered in time"),
        (
            Notice("warning", "retry", "The model is busy; trying again in 4 s"),
            "! The model is busy; trying again in 4 s",
        ),
        (
            Committed("0123456789abcdef", "rdev/x", " 1 file changed, 2 insertions(+)"),
            "◆ commit  0123456789  1 file +2",
        ),
        (Pushed("rdev/x", "0123456789abcdef", "https://h/x"), "▲ pushed  rdev/x 0123456789  https://h/x"),
        (Completed("succeeded", 0, 41_200, cost_usd=0.0431, tokens=12_345), "✓ done  41s · $0.043 · 12.3k tokens"),
        (Completed("failed", 2, 900, "the tests fail"), "✗ failed with exit code 2  the tests fail  0.9s"),
        (Completed("cancelled", 130, 3_000, "stopped by local:0"), "■ stopped  stopped by local:0  3.0s"),
    ],
)
def test_each_event_has_its_line(event, said):
    found = line(event, viewer="local:0")
    assert found is not None
    assert found.plain == said


@pytest.mark.parametrize("event", [Text("words"), Output("words"), Usage(0.1), Started()])
def test_words_and_amounts_are_no_lines(event):
    assert line(event) is None


def test_tool_that_came_back_says_how_it_went_and_how_long_it_took():
    assert tool_ended(BASH, ToolEnded("t1", True), 0.42).plain == "✓ Bash  python -m unittest  0.4s"
    assert tool_ended(BASH, ToolEnded("t1", False), 61).plain == "✗ Bash  python -m unittest  1m 01s"
    assert tool_ended(None, ToolEnded("t1", True)).plain == "✓ tool"


def test_edit_says_how_many_lines_it_changed():
    assert tool_ended(EDIT, ToolEnded("t2", True), 0.11).plain == "✓ Edit  calc.py  +2 −1 · 0.1s"
    assert tool_ended(EDIT, ToolEnded("t2", True), 0.09).plain == "✓ Edit  calc.py  +2 −1"
    assert tool_ended(EDIT, ToolEnded("t2", False)).plain == "✗ Edit  calc.py"


def test_edit_of_many_equal_lines_is_counted_at_once():
    detail = json.dumps({"old_string": "x\n" * 4000, "new_string": "y\n" + "x\n" * 3990})
    begun = time.perf_counter()
    tool_ended(ToolStarted("t", "Edit", "f", detail), ToolEnded("t", True))
    assert time.perf_counter() - begun < 0.1


@pytest.mark.parametrize("detail", ["", '{"old_string": "cut', "[]", "3", '{"old_string": 1, "new_string": 2}'])
def test_call_without_its_whole_input_has_no_figures(detail):
    assert tool_ended(ToolStarted("t", "Edit", "f", detail), ToolEnded("t", True)).plain == "✓ Edit  f"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0s"),
        (-1, "0.0s"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
        (185, "3m 05s"),
        (7449, "2h 04m"),
    ],
)
def test_durations_read_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_amounts_have_as_many_digits_as_matter():
    assert [money(usd) for usd in (0, 0.0004, 0.0042, 0.0431, 0.0951, 12.3, 1234.5)] == [
        "$0", "<$0.001", "$0.004", "$0.043", "$0.10", "$12.30", "$1,234.50",
    ]  # fmt: skip
    assert [count(n) for n in (0, 999, 1000, 12_345, 999_949, 999_950, 4_500_000)] == [
        "0", "999", "1.0k", "12.3k", "999.9k", "1.0M", "4.5M",
    ]  # fmt: skip


def test_sizes_have_three_digits_at_most():
    assert [size(n) for n in (0, 999, 1000, 41_234_567, 3e9)] == ["0 B", "999 B", "1 kB", "41.2 MB", "3 GB"]


def test_diff_stat_is_said_in_few_words():
    assert diffstat(" 2 files changed, 10 insertions(+), 3 deletions(-)") == "2 files +10 −3"
    assert diffstat(" 1 file changed, 1 deletion(-)") == "1 file −1"
    assert diffstat("something\x1b[2Jelse") == "something␛[2Jelse"


def test_excerpt_is_the_end_of_the_output():
    assert excerpt("a\n\nb\n\x1b[31mc\x1b[0m\n\n", 2) == "b\nc"
    assert len(excerpt("x" * 100_000)) <= 6000


@pytest.mark.parametrize(
    ("hostile", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\text", "text"),
        ("\x9b2Jtext\x9d0;t\x9ctext", "texttext"),
        ("\x1b]0;without an end\nnext line", "0;without an end\nnext line"),
        ("10%\r20%\r\ndone", "10%\n20%\ndone"),
        ("a\x00b\x08c\x7fd\x85e", "abcde"),
        ("abc\u202edef\u2066g", "abcdefg"),
        ("one\u2028two", "one\ntwo"),
        ("half \ud83d", "half \ufffd"),
        ("tab\tline\nwide 漢字 🙂 ok", "tab\tline\nwide 漢字 🙂 ok"),
    ],
)
def test_text_loses_what_acts_on_a_terminal_and_nothing_else(hostile, left):
    assert clean(hostile) == left


def test_command_to_be_judged_shows_what_is_hidden_in_it():
    assert reveal("rm\x1b[1A\x7f x\u202ey\u200b") == "rm␛[1A␡ x⟨U+202E⟩y⟨U+200B⟩"
    assert one_line("make\n  test\tall ") == "make ⏎ test all"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


@given(HOSTILE | st.text())
def test_no_text_reaches_the_terminal_as_more_than_text(text):
    """A clean text stays as it is, so that cleaning twice is harmless."""
    for safe in (clean(text), reveal(text), one_line(text), excerpt(text)):
        assert not ACTS.search(safe)
        safe.encode()
    assert clean(clean(text)) == clean(text)
    assert "\n" not in one_line(text)


@given(HOSTILE)
def test_no_field_of_any_event_acts_on_the_terminal(text):
    started = ToolStarted(text, text, text, text)
    for event in (
        Accepted(text, text, text), Started(text), FollowUp(text, text), started, AskRaised(text, text, text, text),
        AskClosed(text, text, text, text), Notice(text, text, text), Committed(text, text, text),
        Pushed(text, text, text), Completed(text, 1, 1, text),
    ):  # fmt: skip
        found = line(event)
        assert found is None or not ACTS.search(found.plain)
    assert not ACTS.search(tool_ended(started, ToolEnded(text, True, text), 1).plain)


def test_cleaning_takes_no_more_than_linear_time():
    for hostile in ("\x1b[" * 100_000, "\x1b]" * 100_000, "\x1b[" + "1" * 200_000, "\x9d" * 200_000, "\x1b " * 100_000):
        begun = time.perf_counter()
        clean(hostile)
        assert time.perf_counter() - begun < 1


def test_the_last_line_names_cost_and_tokens_only_where_there_are_any():
    assert completed(Completed("succeeded", 0, 900)).plain == "✓ done  0.9s"
