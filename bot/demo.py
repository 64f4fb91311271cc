"""`rdev demo`: a small project with a failing test, a bare repository, and the main job on them, end to end."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.errors import UserError

_KEY = "ANTHROPIC_API_KEY"
_PROMPT = "fix the failing test"
_BRANCH = "refs/heads/rdev/*"

_FILES = {
    "prices.py": '''\
        """Prices of a small shop, in cents."""


        def total(prices: list[int], discount_percent: int = 0) -> int:
            """The sum of the prices, less the discount."""
            return sum(prices) - discount_percent
        ''',
    "test_prices.py": """\
        import unittest

        from prices import total


        class TotalTest(unittest.TestCase):
            def test_discount_is_a_share_of_the_sum(self) -> None:
                self.assertEqual(total([1000, 500], discount_percent=10), 1350)


        if __name__ == "__main__":
            unittest.main()
        """,
}
_TEST = "python3 -m unittest -q 2>&1 | tail -4"
_SCRIPT = {
    "failing test": [
        [
            {"say": "I run the test first, to see how it fails.\n", "pace": 0.02},
            {"tool": "Bash", "input": {"command": _TEST}},
        ],
        {"tool": "Bash", "input": {"command": "pwd; cat prices.py"}},
        [
            {"say": "The discount is a percentage, and the code takes it off as cents.\n", "pace": 0.02},
            {
                "tool": "Bash",
                "input": {
                    "command": "sed -i 's|- discount_percent|* (100 - discount_percent) // 100|' prices.py"
                    " && git diff --stat"
                },
            },
        ],
        {"tool": "Bash", "input": {"command": _TEST}},
        {"say": "The test passes now: `total` takes the discount as a share of the sum.", "pace": 0.02},
    ]
}


@dataclass(frozen=True, slots=True)
class _Place:
    """The demo's directory and how rdev is called in it."""

    directory: Path
    environ: Mapping[str, str]

    @property
    def remote(self) -> Path:
        return self.directory / "remote.git"

    def rdev(self, *args: str) -> int:
        """Run rdev as a person would, its output going straight to the terminal."""
        argv = [sys.executable, "-m", "bot", "--config", str(self.directory / "rdev.toml"), *args]
        return subprocess.run(argv, env=dict(self.environ), check=False).returncode

    def git(self, *args: str, cwd: Path | None = None) -> str:
        """Run git, without anything the machine's own configuration says."""
        env = {"PATH": os.defpath, "HOME": str(self.directory), "GIT_CONFIG_NOSYSTEM": "1"}
        argv = ["git", "-c", "user.name=rdev demo", "-c", "user.email=demo@example.org", *args]
        result = subprocess.run(argv, cwd=cwd or self.remote, env=env, check=False, capture_output=True, text=True)
        if result.returncode:
            raise UserError(f"git {args[0]} failed: {result.stderr.strip()}")
        return result.stdout


def run(keep: str | None, environ: Mapping[str, str]) -> int:
    """Run the demo; the exit code is 0 when the fix was pushed, its test passes and the audit log is whole."""
    began = time.monotonic()
    with ExitStack() as stack:
        place = _Place(stack.enter_context(_directory(keep)), dict(environ))
        _say("A project with a failing test", f"in a bare repository, {place.remote}")
        _make_project(place)
        _show(_failing(place))
        place = stack.enter_context(_model(place))
        _say("The job", f"rdev chat --command '/claude demo {_PROMPT}'")
        code = place.rdev("chat", "--command", f"/claude demo {_PROMPT}", "--command", "/rdev diff")
        if code:
            raise UserError(f"The job ended with exit code {code}.")
        _say("What was pushed", "read from the bare repository")
        branch = place.git("for-each-ref", "--format=%(refname:short)", _BRANCH).split()
        if len(branch) != 1:
            raise UserError(f"One branch should have been pushed, and {len(branch)} were.")
        _show(place.git("log", "-1", "--stat", "--format=%h %an <%ae>%n%n%B", branch[0]))
        _check_fixed(place, branch[0])
        _say("The audit log", "rdev audit export, rdev audit verify")
        code = place.rdev("audit", "export") or place.rdev("audit", "verify")
    _say("Done", f"in {time.monotonic() - began:.0f} s" if not code else "the audit log is not whole")
    return code


@contextmanager
def _directory(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="rdev-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    path = Path(keep).absolute()
    if path.exists() and any(path.iterdir()):
        raise UserError(f"{path} is not empty; name a new directory.")
    path.mkdir(parents=True, exist_ok=True)
    yield path


def _make_project(place: _Place) -> None:
    work = place.directory / "work"
    work.mkdir()
    for name, text in _FILES.items():
        (work / name).write_text(textwrap.dedent(text))
    (work / ".gitignore").write_text("__pycache__/\n")
    place.git("init", "--quiet", "--initial-branch=main", cwd=work)
    place.git("add", ".", cwd=work)
    place.git("commit", "--quiet", "--message=A shop's prices, with a test that fails", cwd=work)
    place.git("clone", "--quiet", "--bare", str(work), str(place.remote), cwd=place.directory)


def _failing(place: _Place) -> str:
    result = _run_tests(place.directory / "work")
    if result.returncode == 0:
        raise UserError("The demo's test should fail before the fix, and passes.")
    return result.stdout


def _run_tests(directory: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-B", "-m", "unittest", "-q"]
    return subprocess.run(argv, cwd=directory, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _check_fixed(place: _Place, branch: str) -> None:
    fixed = place.directory / "fixed"
    place.git("clone", "--quiet", "--branch", branch, str(place.remote), str(fixed))
    result = _run_tests(fixed)
    if result.returncode:
        _show(result.stdout)
        raise UserError("The test still fails on the pushed branch.")
    _show("The test passes on the pushed branch.")


@contextmanager
def _model(place: _Place) -> Iterator[_Place]:
    """The place with a configuration and a model: the real one where there is a key, else a script."""
    if place.environ.get(_KEY):
        _say("The model", "api.anthropic.com, with the key of ANTHROPIC_API_KEY, which only squid has")
        _configure(place, "https://api.anthropic.com")
        yield place
        return
    _say("The model", f"a script plays it: {_KEY} is not set. All else is real: the CLI, sandbox, squid, git, store")
    script = place.directory / "script.json"
    script.write_text(json.dumps(_SCRIPT))
    key = secrets.token_hex(16)
    (place.directory / "key").write_text(key)
    argv = [
        sys.executable,
        "-m",
        "bot.scripted_model",
        "--script",
        str(script),
        "--key-file",
        str(script.parent / "key"),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            _configure(place, json.loads(process.stdout.readline())["url"])
            yield _Place(place.directory, {**place.environ, _KEY: key})
        finally:
            process.terminate()


def _configure(place: _Place, model: str) -> None:
    text = f"""\
        state_dir = {json.dumps(str(place.directory / "state"))}

        [model]
        url = {json.dumps(model)}
        key = {{ env = "{_KEY}" }}

        [projects.demo]
        url = {json.dumps(str(place.remote))}
        push = "auto"

        [projects.demo.rights]
        admin = ["local:{os.getuid()}"]
        """
    (place.directory / "rdev.toml").write_text(textwrap.dedent(text))


def _say(title: str, detail: str) -> None:
    print(f"\n── {title}: {detail}\n", flush=True)


def _show(text: str) -> None:
    print(textwrap.indent(text.rstrip(), "   "), flush=True)
