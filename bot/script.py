"""What the scripted model says: steps keyed by a word of the last prompt, chosen from the conversation alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ADDED = re.compile(
    r"<(system-reminder|task-notification)>.*?</\1>|\[Request interrupted by user[^\]]*\]|\ATool loaded\.\Z", re.DOTALL
)
_FOLLOW_UP = re.compile(
    r"The user sent a new message while you were working:\s*(.*?)(?:\n\nThis is how Claude Code|\Z)", re.DOTALL
)
_PLAN_FILE = re.compile(r"(/[^\s`'\"]+/plans/[^\s`'\"]+\.md)")


@dataclass(frozen=True, slots=True)
class Say:
    """Text; `$RESULT` in it stands for the last tool result."""

    text: str
    pace: float = 0.0
    """Seconds between two pieces."""
    chunk: int = 24
    """Characters in a piece."""


@dataclass(frozen=True, slots=True)
class Think:
    """A thinking block."""

    text: str


@dataclass(frozen=True, slots=True)
class UseTool:
    """A tool call; `$PLAN_FILE` in a string of its input stands for the file the CLI wants a plan in."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with an API error the first `times` times, with the next message after that; 0 is for ever."""

    status: int
    times: int = 0
    headers: Mapping[str, str] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut the connection after so many pieces of the next message, the first `times` times; 0 is for ever."""

    after: int = 2
    times: int = 1


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before the next message begins."""

    seconds: float


Block = Say | Think | UseTool
Step = Block | Fail | Cut | Delay | tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model: the blocks of its message, and what goes wrong before or during it."""

    blocks: tuple[Block, ...]
    troubles: tuple[Fail | Cut | Delay, ...] = ()


def ask(*questions: tuple[str, Sequence[str]], multiple: bool = False) -> UseTool:
    """A question to the person, with its options, through the AskUserQuestion tool."""
    return UseTool(
        "AskUserQuestion",
        {
            "questions": [
                {
                    "question": text,
                    "header": text.split()[0][:12],
                    "multiSelect": multiple,
                    "options": [{"label": option, "description": option} for option in options],
                }
                for text, options in questions
            ]
        },
    )


def plan(text: str) -> tuple[Step, Step]:
    """A plan put before the person: the CLI reads it from its plan file, so it is written first."""
    return (
        UseTool("Write", {"file_path": "$PLAN_FILE", "content": text}),
        UseTool("ExitPlanMode", {}),
    )


@dataclass(frozen=True)
class Script:
    """Steps by the word of a prompt that starts them; the empty word answers any other prompt.

    The steps up to a tool call, with it, are one message of the model; a tuple of blocks is a message of its own.
    """

    steps: Mapping[str, Sequence[Step]]

    def turn(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, int, Turn]:
        """The word that matched, which of its turns it is (from 0), and the turn."""
        for index in range(len(messages) - 1, -1, -1):
            word = self._word(prompt(messages[index]))
            if word is not None:
                done = sum(1 for message in messages[index:] if message["role"] == "assistant")
                turns = tuple(_turns(self.steps[word]))
                found = turns[done] if done < len(turns) else Turn((Say("Done."),))
                return word, done, _filled(found, messages)
        return "", 0, Turn((Say("I have no script for that."),))

    def _word(self, text: str) -> str | None:
        if not text:
            return None
        for word in self.steps:
            if word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
                return word
        return "" if "" in self.steps else None


def prompt(message: Mapping[str, Any]) -> str:
    """What a person said in a message: without tool results, reminders and the CLI's own remarks."""
    if message["role"] == "assistant":
        return ""
    content = message["content"]
    blocks: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [block.get("text", "") for block in blocks if block["type"] == "text"]
    text = _ADDED.sub("", "\n".join(texts)).strip()
    follow_up = _FOLLOW_UP.search(text)
    if follow_up:
        return follow_up[1]
    return "" if message["role"] == "system" else text


def _turns(steps: Iterable[Step]) -> Iterator[Turn]:
    blocks: list[Block] = []
    troubles: list[Fail | Cut | Delay] = []
    for step in steps:
        if isinstance(step, Fail | Cut | Delay):
            troubles.append(step)
            continue
        blocks += step if isinstance(step, tuple) else (step,)
        if isinstance(step, tuple | UseTool):
            yield Turn(tuple(blocks), tuple(troubles))
            blocks, troubles = [], []
    if blocks or troubles:
        yield Turn(tuple(blocks) or (Say("Done."),), tuple(troubles))


def _filled(turn: Turn, messages: Sequence[Mapping[str, Any]]) -> Turn:
    blocks: list[Block] = []
    for block in turn.blocks:
        match block:
            case Say(text, pace, chunk) if "$RESULT" in text:
                blocks.append(Say(text.replace("$RESULT", _last_result(messages)), pace, chunk))
            case UseTool(name, values) if "$PLAN_FILE" in json.dumps(dict(values)):
                path = _plan_file(messages)
                filled = {k: v.replace("$PLAN_FILE", path) if isinstance(v, str) else v for k, v in values.items()}
                blocks.append(UseTool(name, filled))
            case _:
                blocks.append(block)
    return Turn(tuple(blocks), turn.troubles)


def _last_result(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if isinstance(message["content"], list):
            for block in reversed(message["content"]):
                if block.get("type") == "tool_result":
                    content = block.get("content", "")
                    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return ""


def _plan_file(messages: Sequence[Mapping[str, Any]]) -> str:
    found = _PLAN_FILE.findall(json.dumps([m["content"] for m in messages if m["role"] != "assistant"]))
    return str(found[-1]) if found else "/tmp/plan.md"  # noqa: S108 - only reached outside plan mode


def load(text: str) -> Script:
    """A script from its JSON form: {"word": [{"say": …}, {"tool": NAME, "input": {…}}, {"fail": 529, "times": 2}, …]}.

    Raises ValueError for a step it does not know.
    """
    return Script({word: tuple(s for item in items for s in _steps(item)) for word, items in json.loads(text).items()})


def _steps(item: Any) -> tuple[Step, ...]:
    if isinstance(item, list):
        blocks = [step for part in item for step in _steps(part)]
        return (tuple(b for b in blocks if isinstance(b, Say | Think | UseTool)),)
    values: dict[str, Any] = dict(item)
    try:
        if "say" in values:
            return (Say(values.pop("say"), **values),)
        if "think" in values:
            return (Think(values.pop("think"), **values),)
        if "tool" in values:
            return (UseTool(values.pop("tool"), **values),)
        if "ask" in values:
            questions = [(q["question"], q["options"]) for q in values.pop("ask")]
            return (ask(*questions, **values),)
        if "plan" in values:
            return plan(values.pop("plan"), **values)
        if "fail" in values:
            return (Fail(values.pop("fail"), **values),)
        if "cut" in values:
            return (Cut(values.pop("cut"), **values),)
        return (Delay(values.pop("delay"), **values),)
    except (TypeError, KeyError) as e:
        raise ValueError(f"not a step of a script: {json.dumps(item)}") from e
