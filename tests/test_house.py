"""The house itself: what its documents promise is there, and nothing of one machine is in it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from bot.config import Config, load

ROOT = Path(__file__).parents[1]
PACKAGES = ("adapters", "bot", "claudebox", "executor")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def pyproject() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(text("pyproject.toml"))


def tracked() -> list[Path]:
    # The clone may belong to another account than the one that runs the tests.
    argv = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys(kind)


def test_example_configuration_loads() -> None:
    config = load(ROOT / "config.example.toml", {"ANTHROPIC_API_KEY": "a-key-of-no-worth"})

    assert config.model.secret is not None
    assert config.projects


def test_example_configuration_shows_every_key() -> None:
    example = text("config.example.toml")
    missing = {key for key in keys(Config) if not re.search(rf"^(# )?{key} =|^\[.*\b{key}\b.*\]$", example, re.M)}

    assert missing <= {"env", "file"}
    assert "env =" in example
    assert "file =" in example


def test_readme_configuration_loads(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", text("README.md"), re.S)
    assert block is not None
    (tmp_path / "rdev.toml").write_text(block[1])

    assert load(tmp_path / "rdev.toml", {}).projects["website"].push == "ask"


def test_readme_opens_with_the_two_commands_and_names_only_words_that_make_knows() -> None:
    words = re.findall(r"\bmake ([a-z]+)", text("README.md") + text("CONTRIBUTING.md"))
    rules = re.findall(r"^([a-z]+):", text("Makefile"), re.M)

    assert words[:2] == ["demo", "test"]
    assert set(words) <= set(rules)
    assert {"setup", "demo", "test", "check", "bench", "trials", "lock", "clean"} == set(rules)


def test_readme_names_only_commands_that_exist() -> None:
    verbs = set(re.findall(r"`rdev ([a-z]+)", text("README.md")))
    help_text = subprocess.run(
        [sys.executable, "-m", "bot", "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout

    assert {verb for verb in verbs if not re.search(rf"\b{verb}\b", help_text)} == set()


def test_links_between_documents_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text(name)):
            assert (ROOT / link).exists(), f"{name}: {link}"


def test_lock_names_no_address() -> None:
    lock = text("requirements.lock")

    assert "://" not in lock
    assert not re.search(r"^(-|--)", lock.replace("    --hash", ""), re.M)
    assert " @ " not in lock


def test_lock_covers_every_pin_with_hashes() -> None:
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+).*\\$", text("requirements.lock"), re.M))
    project = pyproject()
    pins = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert len(pins) > 10

    for pin in pins:
        name, version = pin.split("==")
        assert locked[re.sub(r"[._]", "-", name.lower())] == version


def test_every_module_says_what_it_is() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 10

    silent = [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_no_file_names_a_path_of_this_machine() -> None:
    places = {str(ROOT), str(Path.home())} - {
        "/",
        "/root",
        "/nonexistent",
        "/workspace/repo",
    }  # the code speaks of these
    here = [f"{place}/" for place in places]
    guilty = [str(path) for path in tracked() if any(place.encode() in path.read_bytes() for place in here)]

    assert guilty == []


def test_ci_runs_what_people_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert text(".ci/run").splitlines()[-1] == "exec make test"
    assert re.search(r"^test: check\b", text("Makefile"), re.M)


def test_plain_user_is_told_the_command_that_installs_what_is_missing(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "tr", "cat"):
        (programs / name).symlink_to(f"/bin/{name}")
    (programs / "python3").symlink_to(sys.executable)
    for name, script in (("id", "echo 1000"), ("apt-get", f"touch {tmp_path}/installed")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    setup = deploy / "setup.sh"
    setup.write_text(text("deploy/setup.sh"))

    done = subprocess.run(["/bin/sh", setup], env={"PATH": str(programs)}, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert re.search(rf"^  sudo {setup} packages .*\bbubblewrap\b.*\bgit\b", done.stderr, re.M)
    assert not (tmp_path / "installed").exists()
    assert not (tmp_path / ".venv").exists()
