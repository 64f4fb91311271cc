"""The chat as a person has it: typed at a pseudo terminal, read off its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from screen import Screen

PROGRAM = Path(__file__).with_name("scripted_chat.py")
ROOT = PROGRAM.parent.parent
SECONDS = 15


class Terminal:
    """A program at a pseudo terminal, with its keyboard and its screen."""

    def __init__(self, directory: Path, *commands: str, columns: int = 90, rows: int = 40, **environ: str) -> None:
        self.screen = Screen(columns, rows)
        self.raw = b""
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        base = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, directory, *commands],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            env=base | environ,
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self, seconds: float = 0.05) -> bool:
        """Take what has been written; whether there was anything."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # the other end is closed
            return False
        self.raw += data
        self.screen.feed(data.decode(errors="replace"))
        return bool(data)

    def until(self, true: str | Callable[[Screen], bool]) -> None:
        """Read until the text is on the screen, or until it is as told."""
        end = time.monotonic() + SECONDS
        while not (true in self.screen.text if isinstance(true, str) else true(self.screen)):
            assert time.monotonic() < end, f"waited for {true!r} in:\n{self.screen.text}"
            self.read()

    def settle(self, seconds: float = 0.3) -> None:
        """Read until nothing more has come for a while."""
        while self.read(seconds):
            pass

    def exit_code(self) -> int:
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        self.settle(0.1)
        return self.process.wait(0)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        complaints = self.process.stderr.read().decode()
        self.process.stderr.close()
        os.close(self._master)
        assert complaints == ""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "threads"
    directory.mkdir()
    (directory / "pause").write_text("0.02")
    return directory


@contextmanager
def chat(state: Path, *commands: str, **options: object) -> Iterator[Terminal]:
    terminal = Terminal(state, *commands, **options)  # type: ignore[arg-type]
    try:
        if not commands:
            terminal.until("rdev ›")
        yield terminal
    finally:
        terminal.close()


def piped(state: Path, *commands: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, state, *commands],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "xterm"},
        check=False,
    )


def test_thread_is_shown_as_it_happens_and_asks_are_answered_by_a_key(state):
    with chat(state) as terminal:
        terminal.type("/claude demo fix the test\r")
        terminal.until("y push · n no")
        terminal.until("✓ done")
        terminal.type("y")
        terminal.until("▲ pushed")
        terminal.until(lambda screen: screen.text.count("✓ done") == 2)
        terminal.settle()
        lines = terminal.screen.lines
    shown = [
        "rdev › /claude demo fix the test",
        "",
        "› fix the test",
        "· on rdev/fix-the-test-7c2e",
        "",
        "  I'll run the tests first, to see what fails.",
    ]
    start = lines.index(shown[0])
    assert lines[start : start + len(shown)] == shown
    assert sum("python -m unittest" in line for line in lines) == 1
    for said in (
        r"✗ Bash   python -m unittest(  0\.\ds)?",
        r"  AssertionError: -1 != 3",
        r"┆ ✓ Grep   add\\\(.*",
        r"✓ Edit   calc.py  \+1 −1",
        r"  1\. The sign is right now, .*",
        r"     \S.*names\.",
        r"      return a \+ b",
        r"  Wide: 漢字かな交じり文 and emoji 🙂🙂 stay aligned\.",
        r"\? Push rdev/fix-the-test-7c2e\?",
        r"  It goes to the remote as it is\.",
        r"› push",
        r"▲ pushed  rdev/fix-the-test-7c2e 4f1c2ab9d0  https://git\.example\.org/demo/compare/fix",
        r"✓ done  \S+ · \$0\.043 · 12\.3k tokens",
        r"demo/fix-the-test ›",
        r"\$0\.043 · Ctrl-D leaves",
    ):
        assert [line for line in lines if re.fullmatch(said, line)], f"{said} is not in:\n" + "\n".join(lines)
    assert not any("●" in line for line in lines)


def test_several_words_to_an_ask_are_an_answer_in_words(state):
    """The first letter of `no, wait` must not refuse, nor `another` allow."""
    with chat(state) as terminal:
        terminal.type("/claude demo permit\r")
        terminal.until("1 Allow once · 2 Allow for this session · 3 Deny")
        terminal.type("another way, please")
        terminal.settle(0.6)
        assert "answered" not in terminal.screen.text
        terminal.type("\r")
        terminal.until("✓ answered  another way, please")
        terminal.until("✓ done")
        terminal.type("permit\r")
        terminal.until("3 Deny · or type")
        terminal.type("d")
        terminal.until("You said: Deny")


def test_one_of_several_and_several_of_several_may_be_chosen(state):
    with chat(state) as terminal:
        terminal.type("/claude demo ask\r")
        terminal.until("1 Red · 2 Green · 3 Blue␛[2J · or type an answer")
        terminal.type("2")
        terminal.until("Green it is.")
        terminal.until("✓ done")
        terminal.type("ask several\r")
        terminal.until("then Enter")
        for key in "123":
            terminal.type(key)
            terminal.settle(0.6)
        terminal.type("2")
        terminal.until("then Enter  ✓ Red, Blue␛[2J")
        terminal.type("\r")
        terminal.until("Red, Blue it is.")


def test_command_that_wants_a_confirmation_gets_it_by_a_key(state):
    with chat(state) as terminal:
        terminal.type("/rdev delete demo/x\r")
        terminal.until("y yes · n no")
        terminal.type("n")
        terminal.until("Nothing was done.")
        terminal.settle()
        assert "y yes" not in terminal.screen.text


def test_ctrl_c_clears_the_line_then_stops_the_job(state):
    with chat(state) as terminal:
        terminal.type("/claude demo sleep\r")
        terminal.until("● Bash   sleep 1000")
        terminal.type("half a line")
        terminal.until("› half a line")
        terminal.type("\x03")
        terminal.until(lambda screen: "half a line" not in screen.text)
        assert "Stopping" not in terminal.screen.text
        terminal.type("\x03")
        terminal.until("■ stopped  stopped by local:0")
        terminal.until("Stopped: j1.")
        terminal.type("\x03")
        terminal.until("Nothing runs here.")


def test_ctrl_d_leaves_and_says_what_goes_on(state):
    with chat(state) as terminal:
        terminal.type("/claude demo sleep\r")
        terminal.until("1 running · Ctrl-C stops · Ctrl-D leaves")
        terminal.type("\x04")
        assert terminal.exit_code() == 0
        assert terminal.screen.lines[-1] == "1 job goes on; rdev chat shows what comes of it."
    with chat(state) as terminal:
        terminal.until("1 running")
        terminal.type("/exit\r")
        assert terminal.exit_code() == 0


def test_hang_up_ends_the_chat(state):
    with chat(state) as terminal:
        os.close(terminal._master)
        terminal._master = os.open("/dev/null", os.O_RDWR)
        assert terminal.process.wait(SECONDS) in (0, -signal.SIGHUP)


def test_words_are_completed(state):
    with chat(state) as terminal:
        terminal.type("/cla")
        terminal.settle()
        terminal.type("\t")
        terminal.until("rdev › /claude")
        terminal.type(" pan\t")
        terminal.until("rdev › /claude pantheon")
        terminal.type("\x03/thr")
        terminal.settle()
        terminal.type("\t")
        terminal.until("rdev › /threads")
        terminal.type("\r")
        terminal.until("No threads yet.")


def test_thread_is_opened_with_its_last_lines(state):
    for command in ("/shell demo exit 0", "/claude demo hostile"):
        assert piped(state, command).returncode == 0
    with chat(state) as terminal:
        terminal.type("/threads\r")
        terminal.until("demo/hostile")
        assert len([line for line in terminal.screen.lines if re.search(r"^  demo/\S+ +\d+s ago$", line)]) == 2
        terminal.type("/open exit\r")
        terminal.until("demo/exit-0 ›")
        assert terminal.screen.lines[-8:-3] == ["", "› exit 0", "  one", "  two", "✓ done  0.0s"]
        terminal.type("/open nowhere\r")
        terminal.until("There is no thread “nowhere”.")
        terminal.type("/open\r")
        terminal.until(lambda screen: screen.lines[-2] == "rdev ›")


def test_other_threads_are_announced_when_they_ask_and_end(state):
    (state / "pause").write_text("0.1")
    with chat(state) as terminal:
        terminal.type("/claude demo fix the test\r")
        terminal.until("I'll run the tests")
        terminal.type("/open\r")
        terminal.until("? demo/fix-the-test  Push rdev/fix-the-test-7c2e?")
        terminal.until("✓ demo/fix-the-test  done")
        terminal.until("1 waiting for an answer · $0.043 · Ctrl-D leaves")
        terminal.type("/open demo/fix\r")
        terminal.until("y push · n no")
        terminal.type("n")
        terminal.until("It is not pushed; /rdev push does it later.")
        terminal.type("/open\r")
        terminal.type("/open demo/fix\r")
        terminal.settle()
        assert "y push" not in terminal.screen.text
        assert terminal.screen.lines[-1] == "$0.043 · Ctrl-D leaves"
        assert not [line for line in terminal.screen.lines if line.startswith("● ")]
    with chat(state) as terminal:
        terminal.settle()
        assert "waiting" not in terminal.screen.text
        terminal.type("/open demo/fix\r")
        assert "$" not in terminal.screen.lines[-1]
        terminal.until("y push · n no")  # the thread does not say that it was answered: the service will


def test_hostile_text_neither_drives_the_terminal_nor_passes_for_a_line_of_ours(state):
    with chat(state) as terminal:
        terminal.type("/claude demo hostile\r")
        terminal.until(lambda screen: "✓ done  0" in screen.text)
        ours = [line for line in terminal.screen.lines if line[:1] in tuple("✓▲?✗")]
        assert len(ours) == 1
        assert "  ▲ pushed  main" in terminal.screen.lines
        assert b"owned" not in terminal.raw
        assert "  progress 2%" in terminal.screen.lines
        assert "progress 1%" not in terminal.screen.text


def test_narrow_terminal_shows_all_within_its_width(state):
    with chat(state, columns=30, rows=20) as terminal:
        terminal.type("/claude demo fix the test\r")
        terminal.until("y push · n no")
        terminal.settle()
        text = " ".join(" ".join(terminal.screen.lines).split())
        assert "if it is what it looks like, the fix is one line, and the rest of this paragraph" in text
        assert [line for line in terminal.screen.lines if len(line) > 30] == []


def test_resized_terminal_is_drawn_anew(state):
    with chat(state) as terminal:
        terminal.type("/claude demo sleep\r")
        terminal.until("● Bash")
        terminal.screen = Screen(40, 40)
        terminal.resize(40, 40)
        terminal.until("demo/sleep ›")
        terminal.until("Ctrl-C stops")


def test_pasted_lines_are_one_message(state):
    with chat(state) as terminal:
        terminal.type("/claude demo sleep\r")
        terminal.until("● Bash")
        terminal.type("\x1b[200~first line\r\nsecond line\n\x1b[201~")
        terminal.until("second line")
        assert "Claude reads this" not in terminal.screen.text
        terminal.type("\r")
        terminal.until("· Claude reads this at its next step.")
        lines = terminal.screen.lines
        assert lines[lines.index("› first line") + 1] == "  second line"


def test_no_color_means_none(state):
    with chat(state, NO_COLOR="1") as terminal:
        terminal.type("/claude demo fix the test\r")
        terminal.until("y push · n no")
        assert "  Fixed: `add` subtracted." in terminal.screen.lines
        assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|4[0-7]|38|48|9[0-7])m", terminal.raw)
    with chat(state) as terminal:
        terminal.type("/claude demo fix the test\r")
        terminal.until("y push · n no")
        assert re.search(rb"\x1b\[[0-9;]*32m", terminal.raw)


def test_terminal_that_stands_still_stops_nobody(state):
    """Nothing is read while a job writes four megabytes; the thread grows all the same, and is then caught up with."""
    with chat(state) as terminal:
        terminal.type("/shell demo flood\r")
        path = state / "demo%2Fflood.jsonl"
        end = time.monotonic() + SECONDS
        while not (path.exists() and b'"type":"complete"' in path.read_bytes()[-300:]):
            assert time.monotonic() < end
            time.sleep(0.05)
        terminal.until("✓ done")
        terminal.until("demo/flood ›")
        assert "left out here; the thread's file has it all" in terminal.screen.text
        assert f"  000059 {'x' * 60}" in terminal.screen.lines


def test_lines_are_remembered_but_for_those_that_begin_with_a_space(state):
    with chat(state) as terminal:
        terminal.type("/rdev status\r")
        terminal.until("pantheon stopped")
        terminal.type(" /rdev diff\r")
        terminal.until("+    a + b")
        terminal.type("\x04")
        assert terminal.exit_code() == 0
    assert (state / "history").stat().st_mode & 0o077 == 0
    assert "diff" not in (state / "history").read_text()
    with chat(state) as terminal:
        terminal.type("\x1b[A")
        terminal.until("rdev › /rdev status")


def test_commands_run_in_turn_and_the_last_ones_exit_code_counts(state):
    ran = piped(state, "/shell demo exit 0", "/rdev status", "/shell demo exit 3")
    assert ran.returncode == 3
    assert ran.stderr == ""
    assert re.sub(r"\d\.\ds", "0.0s", ran.stdout).split("\n") == [
        "rdev › /shell demo exit 0",
        "  one",
        "  two",
        "✓ done  0.0s",
        "",
        "demo/exit-0 › /rdev status",
        "  demo     running   1 job",
        "  pantheon stopped   0 jobs",
        "",
        "demo/exit-0 › /shell demo exit 3",
        "  one",
        "  two",
        "✗ failed with exit code 3  0.0s",
        "",
    ]


def test_refused_command_ends_the_row(state):
    ran = piped(state, "/clade demo", "/shell demo exit 0")
    assert ran.returncode == 2
    assert ran.stdout == "rdev › /clade demo\n✗ There is no command /clade. Did you mean /claude?\n"


def test_lines_of_standard_input_are_commands_where_there_is_no_terminal(state):
    ran = piped(state, stdin="/shell demo exit 0\n\n/rdev status\n")
    assert "✓ done" in ran.stdout
    assert "pantheon stopped" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_ask_that_nobody_can_answer_is_said_to_wait(state):
    with subprocess.Popen(
        [sys.executable, PROGRAM, state, "/claude demo permit"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        last = ""
        for last in process.stdout:
            if "waits" in last:
                break
        assert last == "  waits for an answer: /rdev answer j1-a3 Allow once | Allow for this session | Deny\n"
        assert process.poll() is None
        process.kill()


def test_ask_that_outlives_its_job_keeps_nobody_waiting(state):
    ran = piped(state, "/claude demo fix the test", "/rdev status")
    assert ran.returncode == 0
    assert re.search(r"✓ done .*\n  waits for an answer: /rdev answer a1 push \| no\n\ndemo/fix.*status\n", ran.stdout)


def test_closed_pipe_ends_the_commands(state):
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [sys.executable, PROGRAM, state, "/shell demo flood", "/rdev status"],
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=False,
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_commands_at_a_terminal_let_asks_be_answered(state):
    with chat(state, "/claude demo permit", "fix the test") as terminal:
        terminal.until("3 Deny")
        terminal.type("1\r")
        terminal.until("You said: Allow once")
        terminal.until("y push · n no")
        terminal.type("y\r")
        assert terminal.exit_code() == 0
        assert terminal.screen.text.count("▲ pushed") == 1
        assert terminal.screen.text.count("✓ done") == 3
        assert not any("●" in line for line in terminal.screen.lines)
