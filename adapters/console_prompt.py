"""The line at the bottom of the terminal: typing, history, completion, keys, and what changes above it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from adapters.outlet import Outlet

_ANSWERS = "123456789ayAYdnDN"
_PAUSE = 0.4
"""Seconds after which a single key is an answer and not the beginning of a line."""
_HISTORY = 1_000_000
"""Bytes of history; beyond, the older half is forgotten at the next start."""
_STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse",
        "completion-menu": "bg:default fg:default",
        "completion-menu.completion.current": "reverse",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:default",
    }
)


class Desk(Protocol):
    """What the prompt shows and tells; drawn text holds our own colours and nothing else."""

    def above(self) -> str:
        """Everything before the place where a person types."""

    def below(self) -> str:
        """The quiet row under it."""

    def complete(self, text: str) -> list[str]:
        """What the last word may become."""

    def answers(self) -> str:
        """The keys that are answers now."""

    def key(self, key: str) -> None:
        """An answer by key."""

    def line(self, text: str) -> None:
        """A line was entered."""

    def interrupt(self) -> None:
        """Ctrl-C on an empty line."""


class Prompt:
    """Runs until the person leaves; `print` puts finished rows above the line being typed."""

    def __init__(self, desk: Desk, outlet: Outlet, history: Path) -> None:
        self._desk = desk
        self._outlet = outlet
        self._history = history
        self._session: PromptSession[str] | None = None

    async def run(self) -> None:
        """Let the person type until they leave."""
        with create_app_session(output=_Output(self._outlet)), patch_stdout(raw=True):
            self._session = session = self._make()
            session.app.timeoutlen = _PAUSE
            with suppress(EOFError, KeyboardInterrupt):  # the terminal is gone, or the process is told to end
                await session.prompt_async()

    def leave(self) -> None:
        """End `run`."""
        if self._session is not None and self._session.app.is_running:
            self._session.app.exit(result="")

    def print(self, rows: list[str]) -> None:
        """Put rows above, for good, and draw anew what changes."""
        app = self._session.app if self._session else None
        text = "".join(f"{row}\n" for row in rows)
        if app is None or app.context is None or not app.is_running:
            self._outlet.write(text)
        elif rows:
            # What run_in_terminal would do, without giving the keyboard back to the terminal in between: what is
            # typed or pasted just then would be echoed by it. The context makes it this application that draws.
            app.context.copy().run(self._put_above, text)
        elif not self._outlet.behind:
            app.invalidate()

    def _put_above(self, text: str) -> None:
        app = get_app()
        app.renderer.erase()
        self._outlet.write(text)
        app.render_counter += 1  # what is drawn is kept for as long as this stays
        app.renderer.render(app, app.layout)

    def _make(self) -> PromptSession[str]:
        return PromptSession(
            lambda: ANSI(self._desk.above()),
            bottom_toolbar=lambda: ANSI(self._desk.below()),
            completer=_Words(self._desk.complete),
            complete_while_typing=Condition(self._naming),
            history=_history(self._history),
            key_bindings=self._bindings(),
            style=_STYLE,
            reserve_space_for_menu=6,
            erase_when_done=True,
        )

    def _naming(self) -> bool:
        text = self._session.default_buffer.text if self._session else ""
        return text.startswith("/") and " " not in text

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add("enter")(self._enter)
        keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
        keys.add("c-c")(self._interrupt)
        for key in _ANSWERS:
            answers = Condition(lambda key=key: self._is_answer(key))  # type: ignore[misc]
            keys.add(key, filter=answers)(lambda event, key=key: self._desk.key(key))
            keys.add(key, Keys.Any, filter=answers)(self._begin)
        return keys

    def _is_answer(self, key: str) -> bool:
        return self._session is not None and not self._session.default_buffer.text and key in self._desk.answers()

    def _begin(self, event: KeyPressEvent) -> None:
        # A second key within the pause: not an answer but the beginning of a line.
        first, second = event.key_sequence
        event.current_buffer.insert_text(first.data)
        event.key_processor.feed(second, first=True)

    def _enter(self, event: KeyPressEvent) -> None:
        text = event.current_buffer.text
        event.current_buffer.reset(append_to_history=True)
        self._desk.line(text)

    def _interrupt(self, event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            self._desk.interrupt()


class _Output(Vt100_Output):
    """Writes through the outlet, and claims one free row below the cursor.

    prompt_toolkit else asks the terminal where the cursor is after every row printed, waits for the answer, and
    leaves the row below out until it comes: flicker here, and a round trip a row over ssh.
    """

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(cast("TextIO", outlet), lambda: _size(outlet), term=os.environ.get("TERM"), enable_cpr=False)

    def get_rows_below_cursor_position(self) -> int:  # type: ignore[explicit-override]
        return 1


class _Words(Completer):
    def __init__(self, complete: Callable[[str], list[str]]) -> None:
        self._complete = complete

    def get_completions(  # type: ignore[explicit-override]
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        text = document.text_before_cursor
        word = text.rpartition(" ")[2]
        return (Completion(found, -len(word)) for found in (self._complete(text) if text.startswith("/") else ()))


class _History(FileHistory):
    def store_string(self, string: str) -> None:  # type: ignore[explicit-override]
        """Keep a line, unless it begins with a space, as in a shell."""
        if not string.startswith(" "):
            super().store_string(string)


def _history(path: Path) -> _History:
    if path.exists() and path.stat().st_size > _HISTORY:
        kept = path.read_bytes()[-_HISTORY // 2 :]
        path.write_bytes(kept[max(kept.find(b"\n\n#"), 0) :])
    path.touch(0o600)
    return _History(path)


def _size(outlet: Outlet) -> Size:
    return Size(rows=outlet.rows() or 24, columns=outlet.columns() or 80)
