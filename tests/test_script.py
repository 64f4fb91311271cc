from __future__ import annotations

from pathlib import Path

import pytest
from bare_backend import BareBackend

from executor.backend import Container
from executor.errors import RepositoryError
from executor.script import TIMED_OUT, Script, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for name in ("workspace", "guarded"):
        (tmp_path / name).mkdir()
    return Shell(BareBackend(tmp_path / "workspace", tmp_path / "guarded"), "demo")


async def test_arguments_and_input_reach_a_script_as_they_are(shell: Shell) -> None:
    said = await shell.run(Script("say", 'printf "%s|" "$@"; cat'), "a b", "$(id)", "-n", stdin=b"in\n\xff")
    assert said.data == b"a b|$(id)|-n|in\n\xff"


@pytest.mark.parametrize("container", [Container.AGENT, Container.GIT])
async def test_a_script_that_hangs_is_killed_with_all_it_started(shell: Shell, container: Container) -> None:
    with pytest.raises(RepositoryError, match=r"wait: exit code 124: not done after 0.3 seconds") as late:
        await shell.run(Script("wait", "sleep 1000 & sleep 1000; :", container, seconds=0.3))
    assert late.value.code == TIMED_OUT


async def test_endless_output_is_cut_or_refused(shell: Shell) -> None:
    endless = Script("talk", "yes", output=100_000)
    said = await shell.run(endless, cuts=True)
    assert (len(said.data), said.cut) == (100_000, True)
    with pytest.raises(RepositoryError, match="more than 100000 bytes"):
        await shell.run(endless)


async def test_a_failure_says_what_was_tried_and_what_was_said(shell: Shell) -> None:
    script = Script("do it", r"printf 'no \033[31m https://u:s3cret@h/x\n' >&2; exit 3")
    with pytest.raises(RepositoryError, match=r"do it: exit code 3: no \ufffd\[31m https://\*\*\*@h/x") as failed:
        await shell.run(script, stdin=b"never read" * 100_000)
    assert failed.value.code == 3


async def test_input_that_is_not_read_fails_nothing_where_there_is_none(shell: Shell) -> None:
    assert (await shell.run(Script("end", "exit 0"))).data == b""
