"""The doctor, on this machine and on broken programs made for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.claude_cli import PINNED
from bot.config import Claude, Config, LocalBackend, Project
from bot.doctor import Check, checks, report, userns_mend

KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"


def configured(state_dir: Path, backend: LocalBackend | None = None, claude: Claude | None = None) -> Config:
    return Config(
        state_dir=state_dir,
        backend=backend or LocalBackend(),
        claude=claude or Claude(),
        projects={"demo": Project(url="/srv/demo", push="never")},
    )


async def found(config: Config | None, **environ: str) -> dict[str, Check]:
    results = await checks(config, {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | environ)
    assert all(check.mend for check in results if not check.ok)
    return {check.name: check for check in results}


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_machine_that_runs_the_tests_has_all_it_needs(tmp_path: Path) -> None:
    results = await found(configured(tmp_path))

    assert {name for name, check in results.items() if not check.ok} - {"space"} == {"model key"}
    assert PINNED in results["claude"].detail
    assert results["claude"].mend == ""


async def test_without_a_configuration_the_defaults_are_looked_at() -> None:
    results = await found(None, ANTHROPIC_API_KEY=KEY)

    assert results["model key"].ok
    assert KEY not in report(list(results.values()))


async def test_missing_key_is_named() -> None:
    check = (await found(None))["model key"]

    assert not check.ok
    assert "ANTHROPIC_API_KEY" in check.mend


async def test_missing_program_comes_with_the_command_that_installs_it(tmp_path: Path) -> None:
    results = await found(configured(tmp_path, LocalBackend(bwrap="/nonexistent/bwrap", squid="no-such-squid")))

    assert not results["bubblewrap"].ok
    assert results["bubblewrap"].mend.endswith("apt-get install --no-install-recommends bubblewrap")
    assert not results["squid"].ok
    assert "sandbox" not in results


async def test_program_that_fails_is_not_taken_for_installed(tmp_path: Path) -> None:
    broken = program(tmp_path / "squid", "echo 'cannot load libfoo.so' >&2; exit 127")
    check = (await found(configured(tmp_path, LocalBackend(squid=str(broken)))))["squid"]

    assert not check.ok
    assert "cannot load libfoo.so" in check.detail


async def test_squid_that_checks_no_certificate_fails_for_a_model_over_https(tmp_path: Path) -> None:
    plain = program(tmp_path / "squid", "echo 'Squid Cache: Version 5.7'; echo --with-gnutls")
    check = (await found(configured(tmp_path, LocalBackend(squid=str(plain)))))["squid"]

    assert not check.ok
    assert "built without OpenSSL" in check.detail
    assert check.mend.endswith("squid-openssl")


async def test_sandbox_that_cannot_be_made_fails_though_bubblewrap_is_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    forbidden = program(tmp_path / "bwrap", '[ "$1" = --version ] && echo bubblewrap 9.9.9 && exit; exit 1')
    results = await found(configured(tmp_path, LocalBackend(bwrap=str(forbidden))))

    assert results["bubblewrap"].ok
    assert not results["sandbox"].ok


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({"kernel.unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "15000"},
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user.max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces=15000"),
        ({"kernel.unprivileged_userns_clone": "1"}, "docker run --security-opt seccomp=unconfined"),
    ],
)
def test_kernel_that_forbids_user_namespaces_is_mended_by_its_own_setting(
    settings: dict[str, str], command: str
) -> None:
    assert command in userns_mend(settings)


async def test_other_version_of_claude_runs_with_advice(tmp_path: Path) -> None:
    other = program(tmp_path / "claude", "echo '2.0.1 (Claude Code)'")
    check = (await found(configured(tmp_path, claude=Claude(path=other))))["claude"]

    assert check.ok
    assert f"2.0.1, not the pinned {PINNED}" in check.detail
    assert "claude.path" in check.mend


@pytest.mark.parametrize("script", ["exit 1", "echo hello"])
async def test_program_that_is_not_claude_is_refused(tmp_path: Path, script: str) -> None:
    other = program(tmp_path / "claude", script)

    assert not (await found(configured(tmp_path, claude=Claude(path=other))))["claude"].ok


async def test_claude_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert not (await found(configured(tmp_path, claude=Claude(path=tmp_path / "claude"))))["claude"].ok


async def test_programs_of_the_doctor_see_no_key(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    spy = program(tmp_path / "claude", f"env > {seen}; echo {PINNED}")
    await found(configured(tmp_path, claude=Claude(path=spy)), ANTHROPIC_API_KEY=KEY)

    assert "PATH=" in seen.read_text()
    assert "ANTHROPIC" not in seen.read_text()


async def test_state_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    results = await found(configured(tmp_path / "file" / "state"))

    assert not results["state"].ok
    assert results["state"].mend.endswith(f"{tmp_path}/file/state")


async def test_state_that_is_not_there_yet_can_be_made(tmp_path: Path) -> None:
    assert (await found(configured(tmp_path / "a" / "b")))["state"].detail.endswith("can be made")
    assert not (tmp_path / "a").exists()


def test_report_puts_the_mending_below_the_failure() -> None:
    text = report([Check("git", False, "is gone", "apt-get install git"), Check("claude", True, "2.0", "use ours")])

    assert text.splitlines() == [
        "FAIL  git        is gone",
        "                 mend: apt-get install git",
        "ok    claude     2.0",
        "                 advice: use ours",
    ]
