"""A line becomes a command, or a sentence that helps."""

import pytest

from bot.commands import COMMANDS, Invocation, complete, help_text, parse
from bot.errors import UserError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/claude pantheon fix the auth bug", Invocation("claude", ("pantheon",), "fix the auth bug")),
        ("/claude  p   two\nlines  kept", Invocation("claude", ("p",), "two\nlines  kept")),
        (
            "/claude p --model opus --plan fix --model it",
            Invocation("claude", ("p",), "fix --model it", (("--model", "opus"), ("--plan", ""))),
        ),
        ("/shell p ls -la --plan", Invocation("shell", ("p",), "ls -la --plan")),
        ("/rdev stop p --purge", Invocation("rdev stop", ("p",), "--purge", (("--purge", ""),))),
        ("/rdev", Invocation("rdev help")),
        ("/rdev rewind 3 fix-auth", Invocation("rdev rewind", ("3", "fix-auth"), "fix-auth")),
    ],
)
def test_line_is_read(line: str, expected: Invocation) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/cluade p x", "Did you mean /claude?"),
        ("/stop", "Did you mean /rdev stop?"),
        ("/rdev stopp", "Did you mean /rdev stop?"),
        ("/rdev xyzzy", "/rdev help lists the commands."),
        ("/claude", "Which project, and what?"),
        ("/claude p", "What should be done in “p”?"),
        ("/claude p --plan", "What should be done in “p”?"),
        ("/rdev rewind", "It is written: /rdev rewind <checkpoint> [session]"),
        ("/rdev stop p --force", "does not know --force"),
    ],
)
def test_mistake_gets_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(line)

    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/cl", ["/claude"]),
        ("/rdev st", ["start", "status", "stop"]),
        ("/claude pa", ["pantheon"]),
        ("/claude pantheon fix pa", []),
        ("/rdev stop ", ["fix-auth", "pantheon", "zeus"]),
        ("/rdev stop pantheon --p", ["--purge"]),
        ("/rdev help res", ["resume"]),
        ("hello", []),
    ],
)
def test_completion_follows_the_table(text: str, expected: list[str]) -> None:
    assert complete(text, ["pantheon", "zeus"], ["fix-auth"]) == expected


def test_help_has_every_command() -> None:
    text = help_text()

    assert all(f"/{command.name}" in text for command in COMMANDS)
    assert "--purge" in help_text(["stop"])
