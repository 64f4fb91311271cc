"""Rights: nobody, but for those who are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config import Project, Rights
from bot.errors import Forbidden
from bot.permissions import Right, allowed, require

ACTORS = ("discord:123", "slack:T1/U2", "key:ci", "local:0")


def granting(**rights: tuple[str, ...]) -> Project:
    return Project(url="/srv/repo", push="never", rights=Rights(**rights))


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("actor", [*ACTORS, "", "*", ":", "local:", ":0"])
def test_stranger_may_do_nothing(actor: str, right: Right) -> None:
    assert not allowed(granting(), actor, right)
    assert not allowed(granting(view=("local:7",), run=("key:x",), approve=("slack:*",)), "discord:123", right)


@pytest.mark.parametrize(
    ("given_right", "includes"),
    [
        ("view", {Right.VIEW}),
        ("run", {Right.VIEW, Right.RUN}),
        ("approve", {Right.VIEW, Right.APPROVE}),
        ("admin", set(Right)),
    ],
)
def test_right_includes_these_and_no_more(given_right: str, includes: set[Right]) -> None:
    project = granting(**{given_right: ("local:7",)})

    assert {right for right in Right if allowed(project, "local:7", right)} == includes


def test_pattern_covers_its_surface_alone() -> None:
    project = granting(run=("slack:T1/*",))

    assert allowed(project, "slack:T1/U2", Right.RUN)
    assert not allowed(project, "slack:T2/U2", Right.RUN)
    assert not allowed(project, "discord:T1/U2", Right.RUN)
    assert not allowed(project, "xslack:T1/U2", Right.RUN)


def test_name_is_matched_whole_and_in_its_own_case() -> None:
    project = granting(run=("key:ci",))

    assert not allowed(project, "key:ci2", Right.RUN)
    assert not allowed(project, "key:c", Right.RUN)
    assert not allowed(project, "key:CI", Right.RUN)
    assert not allowed(project, "key:ci\n", Right.RUN)


def test_star_is_everybody_who_has_a_name() -> None:
    project = granting(view=("*",))

    assert all(allowed(project, actor, Right.VIEW) for actor in ACTORS)
    assert not any(allowed(project, actor, Right.VIEW) for actor in ("", "*", ":", "local:"))
    assert not allowed(project, "local:0", Right.RUN)


@given(st.text(), st.sampled_from(Right))
def test_no_name_is_a_pattern(actor: str, right: Right) -> None:
    """Whoever calls himself `local:*` is not thereby somebody else."""
    assert allowed(granting(admin=("local:7",)), actor, right) == (actor == "local:7")


def test_refusal_says_whom_to_ask() -> None:
    project = granting(run=("key:ci",), admin=("discord:1", "slack:*", "slack:T1/U2"))

    with pytest.raises(Forbidden) as caught:
        require("website", project, "local:7", Right.RUN)
    assert str(caught.value) == "local:7 may not run anything in website; ask discord:1 or slack:T1/U2."
    require("website", project, "key:ci", Right.RUN)


def test_refusal_names_no_pattern_as_a_person() -> None:
    with pytest.raises(Forbidden, match=r"may not administer website; ask whoever keeps rdev's configuration"):
        require("website", granting(admin=("slack:*",)), "local:7", Right.ADMIN)
