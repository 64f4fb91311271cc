"""Posts follow from the events alone: whole, in order, within limits, the same after any restart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.breaks import cut, open_fence
from bot.model import Entry
from bot.posts import Fold, Post, PostKind
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Completed,
    Event,
    Output,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
)

LIMIT = 400
WORDS = st.text(alphabet="abc \n.`é🙂", max_size=300)
EVENTS = st.lists(
    st.one_of(
        st.builds(Text, WORDS, st.booleans()),
        st.builds(Output, WORDS),
        st.builds(ToolStarted, st.just("t"), st.just("Bash"), WORDS),
        st.builds(ToolEnded, st.just("t"), st.booleans()),
        st.builds(AskRaised, st.uuids().map(str), st.just("question"), WORDS, WORDS),
        st.builds(AskClosed, st.uuids().map(str), st.just("answered"), WORDS),
    ),
    max_size=25,
)


def entries(events: list[Event]) -> list[Entry]:
    return [Entry("j", number, 0.0, event) for number, event in enumerate(events, 1)]


def folded(events: list[Event], limit: int = LIMIT) -> list[Post]:
    fold = Fold(limit)
    fold.feed(entries(events))
    return fold.posts()


@given(EVENTS)
def test_every_post_fits_and_has_its_fences_closed(events: list[Event]) -> None:
    posts = folded([Accepted("a", "claude", "go"), *events, Completed("succeeded", 0, 1)])

    assert [post.index for post in posts] == sorted({post.index for post in posts})
    assert len({post.key for post in posts}) == len(posts)
    for post in posts:
        if post.kind is PostKind.TEXT:
            assert len(post.text) <= LIMIT + _TAIL_ROOM, post
            assert open_fence(post.text) is None, post


_TAIL_ROOM = 600


@given(EVENTS, st.integers(0, 25))
def test_final_posts_never_change_again(events: list[Event], cut_at: int) -> None:
    events = [Accepted("a", "claude", "go"), *events]
    before = {post.key: post for post in folded(events[:cut_at]) if post.final}
    after = {post.key: post for post in folded(events)}

    assert all(after[key].text == post.text for key, post in before.items() if key != "card")


@given(EVENTS, st.integers(0, 25))
def test_posts_are_the_same_however_the_events_come(events: list[Event], cut_at: int) -> None:
    fold = Fold(LIMIT)
    fold.feed(entries(events)[:cut_at])
    fold.posts()
    fold.feed(entries(events)[cut_at:])

    assert fold.posts() == folded(events)


@given(st.lists(st.text(alphabet="ab .\n🙂", min_size=1, max_size=200), min_size=1, max_size=8))
def test_no_word_is_lost_between_posts(pieces: list[str]) -> None:
    posts = folded([Text(piece) for piece in pieces])
    shown = "".join(post.text for post in posts if post.kind is PostKind.TEXT)

    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", "".join(pieces))


def test_long_answer_becomes_few_posts_and_a_file() -> None:
    text = "A paragraph of some length, as people write them.\n\n" * 6000
    posts = folded([Started("rdev/x"), Text(text, end=True), Completed("succeeded", 0, 1)], 3800)

    assert len(posts) <= 8
    assert posts[-1].file.strip() == text.strip()
    assert posts[-1].loud
    assert text.strip()[-300:].strip() in posts[-2].text


def test_code_that_is_cut_is_closed_and_opened_again() -> None:
    text = "Look:\n```python\n" + "x = 1\n" * 40 + "```\nThat is it."
    first, rest = cut(text, 120)

    assert first.endswith("\n```")
    assert rest.startswith("```python\n")
    assert len(first) <= 120


def test_tools_are_a_line_each_and_the_card_shows_the_one_at_work() -> None:
    begun: list[Event] = [Accepted("a", "claude", "fix it"), Started("rdev/fix"), ToolStarted("1", "Bash", "make test")]
    assert "● Bash `make test`" in folded(begun)[0].text

    posts = folded([*begun, ToolEnded("1", ok=False), Text("Hm.")])
    assert posts[1].text == "✗ Bash `make test`\nHm."
    assert "make test" not in posts[0].text


@pytest.mark.parametrize("hostile", ["```\n@everyone", "\x1b[2J\x00", "<!channel>", "\u202egnp"])
def test_output_cannot_break_out_of_its_fence(hostile: str) -> None:
    posts = folded([Output(f"before {hostile} after\n"), Text("Claude says this.")])

    text = posts[1].text
    assert open_fence(text) is None
    assert "\x1b" not in text
    assert "\x00" not in text
    assert text.count("```") == 2
    assert text.endswith("```\nClaude says this.")


def test_text_after_an_ask_stands_below_it() -> None:
    posts = folded([Text("Before."), AskRaised("a1", "question", "Which?", "Which?"), Text("After.")])

    assert [post.text.strip("*").splitlines()[0] for post in posts[1:]] == ["Before.", "Which?**", "After."]
    assert posts[1].final


def test_ask_shows_its_answer_once_it_has_one() -> None:
    ask = AskRaised("a1", "question", "Which?", "Which colour?\n- Red\n- Blue", ("Red", "Blue"))
    assert folded([ask])[1].ask == ask

    closed = folded([ask, AskClosed("a1", "answered", "Blue", "discord:1")])[1]
    assert closed.ask is None
    assert closed.final
    assert "Blue" in closed.text.splitlines()[-1]
