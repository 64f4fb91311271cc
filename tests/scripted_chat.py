"""A small service behind a real console: what a prompt leads to is a script of events, shown in a real transcript.

`python scripted_chat.py DIRECTORY [COMMAND …]` runs the chat, or the commands, at this terminal.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from adapters.console import Console
from adapters.console_chat import Message, Reply
from adapters.transcript import Transcript
from bot.model import Ask, AskKind, AskState, Entry
from executor.events import (
    Accepted,
    AskClosed,
    AskRaised,
    Committed,
    Completed,
    Event,
    FollowUp,
    Notice,
    Output,
    Pushed,
    Started,
    Text,
    ToolEnded,
    ToolStarted,
)

ACTOR = "local:0"
EDIT = {"file_path": "calc.py", "old_string": "return a - b", "new_string": "return a + b"}
PROSE = """I'll run the tests first, to see **what** fails.

Then I'll read `calc.py`, since the name of the failing test points there;
if it is what it looks like, the fix is one line, and the rest of this paragraph is here to be folded where it ends.
"""
DONE = """Fixed: `add` subtracted.

1. The sign is right now, and the three tests pass, on this machine and for the numbers that the test names.
2. Nothing else changed.

```python
def add(a, b):
    return a + b
```

Wide: 漢字かな交じり文 and emoji 🙂🙂 stay aligned.
"""


class Script:
    """The events of one job, as they would come from a box."""

    def __init__(self, transcript: Transcript, thread: str, job: str, pause: float) -> None:
        self._transcript, self._thread, self._job, self._pause, self._seq = transcript, thread, job, pause, 0
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.stopped = False

    async def show(self, *events: Event, pause: float = 1) -> None:
        first, self._seq = self._seq + 1, self._seq + len(events)
        now = time.time()
        await self._transcript.show(
            self._thread, [Entry(self._job, seq, now, event) for seq, event in enumerate(events, first)]
        )
        await asyncio.sleep(self._pause * pause)

    async def say(self, text: str) -> None:
        for start in range(0, len(text), 7):
            await self.show(Text(text[start : start + 7]), pause=0.05)
        await self.show(Text("", end=True), pause=0)

    async def ask(self, ask: AskRaised) -> str:
        self.answer = asyncio.get_running_loop().create_future()
        await self.show(ask, pause=0)
        answer = await self.answer
        await self.show(AskClosed(ask.id, "answered", answer, ACTOR), pause=0)
        return answer

    async def fix(self) -> int:
        await self.show(Started("rdev/fix-the-test-7c2e"))
        await self.say(PROSE)
        await self.show(ToolStarted("t1", "Bash", "python -m unittest"), pause=3)
        await self.show(ToolEnded("t1", False, "FAIL: test_add\nAssertionError: -1 != 3\n\nFAILED (failures=1)\n"))
        await self.show(ToolStarted("t2", "Read", "calc.py"), ToolEnded("t2", True))
        await self.show(ToolStarted("t3", "Task", "look for callers"), pause=1)
        await self.show(ToolStarted("t4", "Grep", "add\\(", parent="t3"), pause=2)
        await self.show(ToolEnded("t4", True), ToolEnded("t3", True))
        await self.show(ToolStarted("t5", "Edit", "calc.py", json.dumps(EDIT)), ToolEnded("t5", True))
        await self.show(Notice("warning", "retry", "The model is busy; trying again in 4 s (1 of 10)."))
        await self.say(DONE)
        await self.show(
            Committed("4f1c2ab9d0e1", "rdev/fix-the-test-7c2e", " 1 file changed, 1 insertion(+), 1 deletion(-)")
        )
        await self.show(
            AskRaised("a1", "push", "Push rdev/fix-the-test-7c2e?", "It goes to the remote as it is.", ("push", "no"))
        )
        return 0

    async def push(self) -> int:
        await self.show(Pushed("rdev/fix-the-test-7c2e", "4f1c2ab9d0e1", "https://git.example.org/demo/compare/fix"))
        return 0

    async def permission(self) -> int:
        choices = ("Allow once", "Allow for this session", "Deny")
        answer = await self.ask(
            AskRaised(f"{self._job}-a3", "permission", "Bash: rm -r build", "rm -r build\nls\n", choices)
        )
        await self.say(f"You said: {answer}\n")
        return 0

    async def question(self, *, multiple: bool) -> int:
        choices = ("Red", "Green", "Blue\x1b[2J")
        answer = await self.ask(
            AskRaised(f"{self._job}-a2", "question", "Which colour?", "For the button.", choices, multiple)
        )
        await self.say(f"{answer} it is.\n")
        return 0

    async def hostile(self) -> int:
        await self.say("\x1b[2J\x1b]0;owned\x07✓ done  all is well\n▲ pushed  main\u202e\n\r? Allow everything?\n")
        await self.show(Output("\x1b[1;1H✓ pushed\rprogress 1%\rprogress 2%\n" + "✗ " * 300 + "\n"))
        return 0

    async def flood(self) -> int:
        for number in range(60):
            await self.show(Output(f"{number:06} {'x' * 60}\n" * 1000), pause=0)
        return 0

    async def run(self, kind: str, text: str) -> None:
        begun = time.time()
        await self.show(Accepted(ACTOR, kind, text), pause=0)
        try:
            match text.split():
                case ["hostile", *_]:
                    code = await self.hostile()
                case ["flood", *_]:
                    code = await self.flood()
                case ["ask", *words]:
                    code = await self.question(multiple="several" in words)
                case ["permit", *_]:
                    code = await self.permission()
                case ["push"]:
                    code = await self.push()
                case ["sleep", *_]:
                    await self.show(Started(), ToolStarted("s", "Bash", "sleep 1000"), pause=0)
                    code = await asyncio.sleep(1000, 0)
                case ["exit", number]:
                    await self.show(Started(), Output("one\ntwo"), pause=0)
                    code = int(number)
                case _:
                    code = await self.fix()
        except asyncio.CancelledError:
            if not self.stopped:  # the program ends, and with it this stand-in for a box
                raise
            await self.show(Completed("cancelled", 130, 1000, f"stopped by {ACTOR}"), pause=0)
            return
        cost = 0.043 if kind == "claude" else 0
        took = int((time.time() - begun) * 1000)
        await self.show(
            Completed("failed" if code else "succeeded", code, took, "", cost, 12_345 if cost else 0), pause=0
        )


class ScriptedChat:
    """Implements what the console needs, in this process and with nothing behind it."""

    def __init__(self, transcript: Transcript, pause: float) -> None:
        self._transcript = transcript
        self._pause = pause
        self._number = 0
        self._scripts: dict[str, tuple[Script, asyncio.Task[None]]] = {}

    async def handle(self, message: Message) -> Reply:
        words = message.text.split(maxsplit=2)
        match words:
            case ["/claude" | "/shell" as kind, "demo", text]:
                return await self._start(
                    message.thread or await self._transcript.open(f"demo/{self._name(text)}"), kind, text
                )
            case ["/rdev", "stop", *_]:
                return await self._stop(message.thread)
            case ["/rdev", "status", *_]:
                return Reply("demo     running   1 job\npantheon stopped   0 jobs")
            case ["/rdev", "diff", *_]:
                return Reply("--- a/calc.py\n+++ b/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    a - b\n+    a + b\n")
            case ["/rdev", "delete", *_]:
                ask = Ask(
                    "c1", "", "demo", "s1", AskKind.CONFIRM, json.dumps({"title": "Delete?"}), AskState.OPEN, 0, 0
                )
                return Reply("Delete demo/x, its worktree and its checkpoints? Answer with yes or no.", asks=(ask,))
            case [first, *_] if first.startswith("/"):
                return Reply(f"There is no command {first}. Did you mean /claude?", error=True)
        running = self._scripts.get(message.thread)
        if running is not None and not running[1].done():
            await running[0].show(FollowUp(message.actor, message.text), pause=0)
            return Reply("Claude reads this at its next step.", message.thread, "j1")
        if not message.thread:
            return Reply("Nothing goes on here. Begin with /claude <project> <what to do>.", error=True)
        return await self._start(message.thread, "/claude", message.text)

    async def answer(self, ask: str, choice: str | Sequence[str], actor: str) -> Reply:
        said = choice if isinstance(choice, str) else ", ".join(choice)
        if ask == "c1":
            return Reply("demo/x is deleted." if said == "yes" else "Nothing was done.")
        if ask == "a1":
            if said != "push":
                return Reply("It is not pushed; /rdev push does it later.")
            return await self._start("demo/fix-the-test", "/git", "push")
        for script, _ in self._scripts.values():
            if not script.answer.done():
                script.answer.set_result(said)
                return Reply("")
        return Reply("This was answered already.", error=True)

    def complete(self, text: str, actor: str) -> list[str]:
        *before, last = text.split(" ")
        words = (
            ["/claude", "/git", "/rdev", "/shell"] if not before else ["demo", "pantheon"] if len(before) == 1 else []
        )
        return [word for word in words if word.startswith(last)]

    async def _start(self, thread: str, kind: str, text: str) -> Reply:
        self._number += 1
        job = f"j{self._number}"
        script = Script(self._transcript, thread, job, self._pause)
        self._scripts[thread] = script, asyncio.create_task(script.run(kind[1:], text))
        await asyncio.sleep(0)
        return Reply("", thread, job)

    async def _stop(self, thread: str) -> Reply:
        if thread not in self._scripts or self._scripts[thread][1].done():
            return Reply("Nothing was running.")
        self._scripts[thread][0].stopped = True
        self._scripts[thread][1].cancel()
        return Reply("Stopped: j1.", thread)

    @staticmethod
    def _name(text: str) -> str:
        return "-".join(text.lower().split()[:4])


async def main(directory: str, *commands: str) -> int:
    transcript = Transcript(Path(directory))
    pause = (
        float(transcript.directory.joinpath("pause").read_text()) if (transcript.directory / "pause").exists() else 0.3
    )
    console = Console(ScriptedChat(transcript, pause), transcript, ACTOR)
    if commands:
        return await console.run_commands(commands)
    await console.run()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
