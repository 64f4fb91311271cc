"""The interactive chat: one thread streamed, the others announced, a prompt that never goes away."""

from __future__ import annotations

import asyncio
import logging
import time

from adapters.console_asks import Question
from adapters.console_board import HEADLINES, Board
from adapters.console_calls import STOP, Calls
from adapters.console_chat import Chat, Reply
from adapters.console_lines import Lines
from adapters.console_prompt import Prompt
from adapters.console_reply import drawn
from adapters.console_status import announced, echo, keys, listed, matching, place, toolbar
from adapters.console_view import View
from adapters.outlet import Gone, Outlet
from adapters.paint import Paint
from adapters.transcript import Growth, Transcript
from bot.model import Entry
from bot.rendering import Line, Tone, size
from bot.safetext import one_line
from executor.events import Output, Text

log = logging.getLogger(__name__)

_WORDS = ("/threads", "/open", "/exit")
"""The console's own words; all others are the service's."""
_HELLO = "/claude <project> <what to do> begins · Tab completes · /rdev help · /threads · /open · /exit"
_TAIL_LINES = 400
_TAIL_ROWS = 30
_SURVEYED = 50
"""Threads that are looked at in the beginning for what runs and what waits."""
_BEHIND = 1024 * 1024
"""Bytes of a thread by which the terminal may be late before words and output are left out."""


class Live:
    """What the prompt shows and what it is told."""

    def __init__(self, chat: Chat, transcript: Transcript, actor: str, outlet: Outlet, paint: Paint) -> None:
        self._chat = chat
        self._transcript = transcript
        self._actor = actor
        self._outlet = outlet
        self._paint = paint
        self._lines = Lines(paint, outlet.columns)
        self._prompt = Prompt(self, outlet, transcript.directory / "history")
        self._calls = Calls(chat, actor, self._reply)
        self._board = Board()
        self._thread = ""
        self._view = View(paint, outlet.columns, actor)
        self._offsets: dict[str, int] = {}
        """How far each thread has been read."""
        self._left_out = 0
        self._picked: list[str] = []

    async def run(self) -> None:
        """Chat until the person leaves or the terminal is gone; what runs goes on."""
        self._survey()
        self._prompt.print([self._paint.dim(row) for row in self._lines.folded(_HELLO, 0)])
        try:
            with self._transcript.growing() as growth:
                async with asyncio.TaskGroup() as tasks:
                    calls = tasks.create_task(self._calls.run(tasks))
                    drawing = tasks.create_task(self._draw(growth))
                    ticking = tasks.create_task(self._tick())
                    await self._prompt.run()
                    for task in (calls, drawing, ticking):
                        task.cancel()
        except* Gone:
            log.info("the terminal is gone")
        number = len(self._board.running)
        if number:
            self._outlet.write(
                f"{number} job{'s go' if number > 1 else ' goes'} on; rdev chat shows what comes of it.\n"
            )

    # what the prompt shows

    def above(self) -> str:
        """The rows that still change, the keys of an open ask, and where we are."""
        rows = self._view.live(time.time())[-max(self._outlet.rows() // 2, 3) :]
        questions = self._board.questions(self._thread)
        width = self._outlet.columns()
        asks = ["", keys(questions, self._picked, self._paint, width)] if questions else []
        return "\n".join([*rows, *asks, "", place(self._thread, self._paint, width)])

    def below(self) -> str:
        """What runs, waits and costs."""
        return toolbar(self._board, self._thread, self._paint, self._outlet.columns())

    # what the prompt tells

    def complete(self, text: str) -> list[str]:
        """The console's words and threads, and whatever the service knows."""
        if text.startswith("/open "):
            return [found.name for found in matching(text[len("/open ") :], self._transcript.threads())][:20]
        own = [word for word in _WORDS if word.startswith(text)] if text.startswith("/") else []
        return [*self._chat.complete(text, self._actor), *own]

    def answers(self) -> str:
        """The keys of the oldest open ask of the thread."""
        questions = self._board.questions(self._thread)
        return questions[0].keys if questions else ""

    def key(self, key: str) -> None:
        """Answer at once, or mark a choice where several may be chosen."""
        question = self._board.questions(self._thread)[0]
        choice = question.key(key)
        if not question.multiple:
            self._calls.answer(self._thread, question, choice)
        elif choice in self._picked:
            self._picked.remove(choice)
        else:
            self._picked.append(choice)

    def line(self, text: str) -> None:
        """A command, an answer to the open ask, or a reply in the thread."""
        text = text.strip()
        questions = self._board.questions(self._thread)
        word, _, rest = text.partition(" ")
        if text.startswith("/"):
            self._prompt.print(["", echo(self._thread, text, self._paint, self._outlet.columns())])
        if questions and not text.startswith("/") and (text or self._picked):
            self._calls.answer(self._thread, questions[0], questions[0].line(text) if text else list(self._picked))
        elif word in _WORDS:
            self._own(word, rest.strip())
        elif text:
            self._calls.line(self._thread, text)

    def interrupt(self) -> None:
        """Stop what runs in this thread."""
        if self._board.busy(self._thread):
            self._note("Stopping …")
            self._calls.line(self._thread, STOP)
        else:
            self._note("Nothing runs here. Ctrl-D leaves.")

    # what happens

    def _own(self, word: str, rest: str) -> None:
        threads = self._transcript.threads()
        if word == "/exit":
            self._prompt.leave()
        elif word == "/threads":
            self._prompt.print(listed(threads[:_SURVEYED], self._board, self._paint, self._outlet.columns()))
        elif not rest:
            self._open("")
        elif len(found := matching(rest, threads)) == 1:
            self._open(found[0].name)
        elif found:
            self._prompt.print(listed(found[:_SURVEYED], self._board, self._paint, self._outlet.columns()))
        else:
            self._prompt.print(self._lines.whole(Line("✗", f"There is no thread “{one_line(rest)}”.", tone=Tone.BAD)))

    def _reply(self, reply: Reply, asked_in: str, settled: str) -> None:
        if settled and not reply.error:
            self._board.close(settled)
            self._picked.clear()
        self._prompt.print(drawn(reply, self._lines, self._paint))
        for ask in reply.asks:
            self._board.confirm(asked_in, Question.replied(ask))
        if reply.thread and reply.thread != self._thread == asked_in:
            self._open(reply.thread)

    def _open(self, thread: str) -> None:
        """Go to a thread and show how it stands."""
        self._thread, self._left_out, self._picked = thread, 0, []
        self._view = View(self._paint, self._outlet.columns, self._actor)
        page = self._transcript.tail(thread, _TAIL_LINES)
        for entry in page.entries:
            self._view.feed(entry)
            self._board.update(thread, entry, past=entry.job not in self._board.running)
        self._offsets[thread] = page.end
        rows = self._view.take()
        more = len(rows) > _TAIL_ROWS or (page.entries and page.entries[0].seq > 1)
        head = ["", *([self._paint.dim("  ⋯")] if more else [])]
        self._prompt.print([*head, *rows[-_TAIL_ROWS:]] if thread else [])

    def _survey(self) -> None:
        for thread in self._transcript.threads():
            self._offsets[thread.name] = thread.size
        for thread in self._transcript.threads()[:_SURVEYED]:
            for entry in self._transcript.tail(thread.name, _TAIL_LINES).entries:
                self._board.update(thread.name, entry, past=True)
        self._board.settle()

    async def _draw(self, growth: Growth) -> None:
        grown: set[str] = set()
        while True:
            grown |= growth.taken() if grown else await growth.wait()
            for thread in sorted(grown):
                if not self._advance(thread):
                    grown.discard(thread)
                await self._outlet.drained()

    def _advance(self, thread: str) -> bool:
        """Read on in a thread and draw; whether there is more."""
        shown = thread == self._thread
        offset = self._offsets.get(thread, 0)
        page = self._transcript.read(thread, offset, frozenset() if shown else HEADLINES)
        left = self._transcript.size(thread) - page.end
        self._offsets[thread] = page.end
        for entry in page.entries:
            self._board.update(thread, entry)
            if not shown:
                self._prompt.print(announced(thread, entry, self._lines, self._paint))
            elif left < _BEHIND or not self._leave_out(entry):
                self._view.feed(entry)
        if shown:
            if self._left_out and left < _BEHIND:
                self._view.note(f"  ⋯ {size(self._left_out)} left out here; the thread's file has it all")
                self._left_out = 0
            self._prompt.print(self._view.take())
        return page.end > offset and left > 0

    def _leave_out(self, entry: Entry) -> bool:
        match entry.event:
            case Output(text=text) | Text(text=text):
                self._left_out += len(text)
                return True
            case _:
                return False

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)  # the time that tools take is shown by the second
            if self._board.busy(self._thread):
                self._prompt.print([])

    def _note(self, text: str) -> None:
        self._prompt.print([self._paint.dim(f"· {text}")])
