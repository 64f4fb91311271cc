"""What people paste or Claude prints never keeps a secret."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.redaction import MARK, Redactor
from executor.events import AskRaised, Text, ToolStarted

KEY = "planted-7f3kQz81LmVx0pWs"
TOKEN = "ghp_" + "a1B2" * 9
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY[::-1],
        KEY.encode().hex(),
        KEY.encode().hex().upper(),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(b"x" + KEY.encode() + b"yz").decode(),
        base64.b64encode(b"xy" + KEY.encode() + b"z").decode(),
        base64.urlsafe_b64encode(b"key=" + KEY.encode()).decode(),
    ],
)
def test_known_secret_is_found_in_each_common_form(form: str) -> None:
    cleaned = Redactor([KEY]).clean(f"before {form} after")

    assert MARK in cleaned
    assert form not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


@pytest.mark.parametrize("token", [TOKEN, "sk-ant-api03-" + "x" * 40, "xoxb-1234567890-abcdef", PRIVATE])
def test_token_shapes_are_found_without_knowing_the_value(token: str) -> None:
    assert Redactor().clean(f"export T={token} # mine") == f"export T={MARK} # mine"


def test_password_in_a_url_is_taken_out_and_the_host_stays() -> None:
    assert Redactor().clean("https://bob:hunter22@github.com/x") == f"https://{MARK}@github.com/x"


def test_ordinary_text_is_left_alone() -> None:
    text = "The task asks for risk-free sketches: https://github.com/a/b, 12:30@noon, ghost, eyJ"

    assert Redactor([KEY]).clean(text) == text


def test_unencodable_characters_are_replaced() -> None:
    assert Redactor().clean("a\ud800b\x00c") == "a\ufffdb\ufffdc"


def test_every_text_of_an_event_is_cleaned() -> None:
    redactor = Redactor([KEY])

    assert redactor.clean_event(ToolStarted("t1", "Bash", f"echo {KEY}", KEY)) == ToolStarted(
        "t1", "Bash", f"echo {MARK}", MARK
    )
    assert redactor.clean_event(AskRaised("a", "question", "t", "b", (KEY, "no"))).choices == (MARK, "no")
    event = Text("nothing here")
    assert redactor.clean_event(event) is event


@given(st.integers(min_value=1, max_value=len(KEY) - 1), st.sampled_from(["", "a ", "x" * 30 + "\n"]))
def test_secret_cut_anywhere_between_two_pieces_is_never_stored(cut: int, before: str) -> None:
    """Whatever part is not held back is too short to be of use, and the rest is found without it."""
    redactor = Redactor([KEY])
    first, second = before + KEY[:cut], KEY[cut:] + " end"

    settled = redactor.settled(first)
    stored = redactor.clean(first[:settled]), redactor.clean(first[settled:] + second)

    assert KEY not in "".join(stored)
    assert KEY[5:] not in "".join(stored)
    assert stored[1].endswith(" end")


@pytest.mark.parametrize("token", [TOKEN, "github_pat_" + "z" * 30])
def test_token_shape_cut_between_pieces_is_held_until_it_ends(token: str) -> None:
    redactor = Redactor()
    for cut in range(2, len(token)):
        text = f"use {token[:cut]}"
        settled = redactor.settled(text)
        assert text[:settled] + redactor.clean(text[settled:] + token[cut:] + " ok") == f"use {MARK} ok", cut


def test_nothing_is_held_of_ordinary_text() -> None:
    redactor = Redactor([KEY])
    for text in ("", "hello", "a task", "line\n", "ends with plan", "x" * 40_000):
        assert redactor.settled(text) == len(text), text


def test_hold_back_is_bounded() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----" + "A" * 20_000

    assert Redactor().settled(text) == len(text)


@pytest.mark.parametrize("start", ["-----BEGIN PRIVATE KEY-----\n", "eyJ", "sk-a ", "://a:", "-----BEGIN A", "gh"])
def test_text_of_nothing_but_beginnings_takes_no_longer_than_any_other(start: str) -> None:
    """Tried from each beginning anew, such text would hold up everything else for minutes."""
    began = time.process_time()
    Redactor([KEY]).clean(start * (262_144 // len(start)))

    assert time.process_time() - began < 1


def test_token_after_beginnings_without_end_is_found() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0"

    assert Redactor().clean(f"eyJ eyJhbGciOiJIUzI1NiJ9 {token}") == f"eyJ eyJhbGciOiJIUzI1NiJ9 {MARK}"
    assert Redactor().clean(f"{PRIVATE} and {PRIVATE}, -----BEGIN PRIVATE KEY-----") == (
        f"{MARK} and {MARK}, -----BEGIN PRIVATE KEY-----"
    )
