"""Rows are the same however their text arrives, and the first column is ours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from adapters.console_asks import Question
from adapters.console_view import View
from adapters.flow import Flow
from adapters.paint import Paint, fit, fold, wants_colour
from bot.model import Ask, AskKind, AskState, Entry
from executor.events import (
    Accepted,
    AskRaised,
    Completed,
    Event,
    FollowUp,
    Notice,
    Output,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
)

PLAIN = Paint(False)
TEXTS = st.text(alphabet=st.sampled_from("ab  \n`*#-1.漢\té"), max_size=200)
HOSTILE = st.text(alphabet=st.sampled_from("a \n\r\x1b[]2J;m\x07✓●?›\u202e\x9b"), max_size=80)


def drawn(*events: Event, width: int = 60, gap: float = 0.5) -> list[str]:
    view = View(PLAIN, lambda: width, "local:0")
    for number, event in enumerate(events, 1):
        view.feed(Entry("j1", number, number * gap, event))
    view.close()
    return view.take()


def flowed(pieces: list[str], width: int, *, prose: bool) -> list[str]:
    flow = Flow(PLAIN, prose=prose)
    rows = [row for piece in pieces for row in flow.feed(piece, width)]
    return rows + flow.close(width)


@given(TEXTS, st.lists(st.integers(0, 200)), st.integers(8, 60), st.booleans())
def test_rows_do_not_depend_on_where_the_text_was_cut(text, cuts, width, prose):
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert flowed(pieces, width, prose=prose) == flowed([text], width, prose=prose)


@given(TEXTS, st.integers(8, 60), st.booleans())
def test_no_word_is_lost_and_no_row_is_too_wide(text, width, prose):
    rows = flowed([text], width, prose=prose)
    assert "".join("".join(rows).split()) == "".join(text.split())
    assert all(cell_len(row) <= width for row in rows)


@given(st.lists(HOSTILE), st.integers(10, 60), st.booleans())
def test_strangers_text_never_begins_in_the_first_column(pieces, width, prose):
    for row in flowed(pieces, width, prose=prose):
        assert row.startswith("  ") or not row
        assert not set(row) & set("\x1b\r\x07\u202e\x9b")


@given(HOSTILE, st.sampled_from([0, 20, 60]))
def test_every_row_of_a_hostile_event_has_a_mark_of_ours_or_a_margin(text, width):
    rows = drawn(
        Accepted(text, "claude", text), FollowUp(text, text), Notice(text, text, text), ToolStarted("t", text, text),
        ToolEnded("t", False, text), AskRaised(text, "question", text, text, (text, text)), Text(text), Output(text),
        Completed(text, 1, 1, text), width=width,
    )  # fmt: skip
    for row in rows:
        assert row == "" or row[:2] in {"› ", "· ", "✗ ", "? ", "■ ", "  "}
    assert sum(row.startswith("›") for row in rows) == 2
    assert sum(row.startswith("?") for row in rows) == 1


def test_words_are_folded_with_their_lists_depth():
    assert fold("- one two three", 9, words=True, hang=2) == ["- one two", "  three"]
    assert fold("abcdefgh", 3, words=True) == ["abcd", "efgh"]
    assert fold("漢字漢字", 5, words=False) == ["漢字", "漢字"]
    assert flowed(["1. aaa bbb\n   ccc"], 10, prose=True) == ["  1. aaa", "     bbb", "     ccc"]


def test_text_is_cut_to_cells():
    assert [fit("漢字漢字", width) for width in (8, 7, 2, 1)] == ["漢字漢字", "漢字漢…", "…", ""]
    assert fit("abc", 3) == "abc"


def test_progress_bar_is_its_last_state():
    assert flowed(["10%\r", "20%\r30%", "\r\ndone\r", "\nend"], 40, prose=False) == ["  30%", "  done", "  end"]


def test_sequence_cut_in_two_is_removed_whole():
    assert flowed(["a\x1b", "[3", "1mred\x1b[0m\n"], 40, prose=False) == ["  ared"]


def test_code_is_not_folded_by_words_and_prose_is_coloured():
    flow = Flow(Paint(True), prose=True)
    rows = flow.feed("# Title\nuse `x` and **y**\n```py\na  b\n```\n`z`\n", 40)
    assert rows == [
        "  \x1b[1mTitle\x1b[0m",
        "  use \x1b[36mx\x1b[0m and \x1b[1my\x1b[0m",
        "  \x1b[2m```py\x1b[0m",
        "  \x1b[36ma  b\x1b[0m",
        "  \x1b[2m```\x1b[0m",
        "  \x1b[36mz\x1b[0m",
    ]


def test_blank_rows_part_words_from_acts_and_are_never_doubled():
    rows = drawn(
        Accepted("local:0", "claude", "go"), Text("\n\nI look.\n\n\n\n"), Text("", end=True),
        ToolStarted("t", "Bash", "ls"), ToolEnded("t", True), ToolStarted("u", "Read", "f"), ToolEnded("u", True),
        Text("Done.", end=True), Completed("succeeded", 0, 1000),
    )  # fmt: skip
    assert rows == [
        "› go", "", "  I look.", "", "✓ Bash   ls  0.5s", "✓ Read   f  0.5s", "", "  Done.", "", "✓ done  1.0s",
    ]  # fmt: skip


def test_branch_is_said_once():
    rows = drawn(Started("rdev/x"), Output("a\n"), Started("rdev/x"), Output("b\n"), Started("rdev/y"), Started(""))
    assert rows == ["· on rdev/x", "  a", "  b", "· on rdev/y"]


def test_output_keeps_its_blank_rows():
    rows = drawn(Output("a\n\n\n\nb\n\n"), Completed("failed", 1, 0))
    assert rows == ["  a", "", "", "", "  b", "✗ failed with exit code 1  0.0s"]


def test_tools_at_work_are_live_and_end_as_rows():
    view = View(PLAIN, lambda: 40)
    for number in range(6):
        view.feed(Entry("j", number + 1, 100.0, ToolStarted(f"t{number}", "Bash", f"sleep {number}")))
    assert view.take() == []
    assert view.live(103.4) == [*(f"● Bash   sleep {n}  3s" for n in range(4)), "  and 2 more"]
    view.feed(Entry("j", 7, 102.0, ToolEnded("t0", True)))
    assert view.take() == ["✓ Bash   sleep 0  2.0s"]
    view.feed(Entry("j", 8, 103.0, Completed("cancelled", 130, 3000)))
    assert view.take() == [*(f"● Bash   sleep {n}" for n in range(1, 6)), "", "■ stopped  3.0s"]
    assert view.live(104) == []


def test_row_being_written_is_live():
    view = View(PLAIN, lambda: 40)
    view.feed(Entry("j", 1, 1.0, Text("one\ntwo wor")))
    assert (view.take(), view.live(1)) == (["  one"], ["  two wor"])
    view.feed(Entry("j", 2, 1.0, Text("ds")))
    assert (view.take(), view.live(1)) == ([], ["  two words"])


def test_long_message_is_repeated_by_its_beginning_and_an_ask_in_full():
    rows = drawn(Accepted("local:0", "claude", "\n".join(f"line {n}" for n in range(30))))
    assert (len(rows), rows[-1]) == (12, "  … and 19 more lines")
    body = "\n".join(f"line {n}" for n in range(300))
    assert len(drawn(AskRaised("a", "permission", "Allow?", body, ("allow", "deny")))) == 301


@pytest.mark.parametrize(
    ("line", "answer"),
    [("1", "allow once"), ("y", "allow once"), ("A", "allow once"), ("d", "deny"), ("n", "deny"),
     ("Always Allow", "always allow"), ("9", "9"), ("never do that", "never do that")],
)  # fmt: skip
def test_line_names_a_choice_or_is_the_answer(line, answer):
    question = Question.raised(AskRaised("a", "permission", "Allow?", "", ("allow once", "deny", "always allow")))
    assert question.line(line) == answer


def test_letters_are_words_to_a_question():
    question = Question.raised(AskRaised("a", "question", "Which?", "", ("Yes", "No"), multiple=True))
    assert question.keys == "12"
    assert question.line("n") == "n"
    assert question.line("2, 1") == ["No", "Yes"]
    assert question.line("2, 3") == "2, 3"
    assert Question.raised(AskRaised("a", "question", "Why?", "")).hint == "type the answer"


def test_ask_without_choices_has_the_usual_ones():
    assert Question.raised(AskRaised("a", "plan", "Go?", "")).choices == ("allow", "deny")
    ask = Ask("c", "", "p", "s", AskKind.CONFIRM, '{"title": "Delete it?"}', AskState.OPEN, 0, 0)
    assert Question.replied(ask) == Question("c", "Delete it?", ("yes", "no"))


def test_colour_is_for_terminals_that_want_it():
    assert wants_colour(True, {"TERM": "xterm"})
    assert not wants_colour(False, {"TERM": "xterm"})
    assert not wants_colour(True, {"TERM": "dumb"})
    assert not wants_colour(True, {"TERM": "xterm", "NO_COLOR": "1"})
