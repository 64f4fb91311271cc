"""Limits by cgroup v2, on a tree of plain files: what would be written, and when nothing can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executor.backend import Limits
from executor.cgroup import make, parent, remove, values

LIMITS = Limits(cpus=1.5, memory_bytes=1 << 30, processes=100)


def tree(root: Path, controllers: str = "") -> Path:
    """A cgroup v2 file system as far as it is looked at."""
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "cgroup.subtree_control").write_text(controllers)
    return root


def test_limits_as_the_kernel_writes_them() -> None:
    assert values(LIMITS) == {
        "cpu.max": "150000 100000",
        "memory.max": str(1 << 30),
        "memory.swap.max": "0",
        "memory.oom.group": "0",
        "pids.max": "800",
    }
    assert values(Limits()) == {}


def test_machine_without_cgroup_v2_gives_none(tmp_path: Path) -> None:
    assert parent("rdev1", tmp_path) is None
    assert make(None, "demo", LIMITS) == ""
    remove(None, "demo")


@pytest.mark.skipif(os.geteuid() != 0, reason="others are given a part of the tree by systemd")
def test_root_makes_a_group_with_the_three_controllers(tmp_path: Path) -> None:
    tree(tmp_path, "cpu")
    (tmp_path / "rdev1").mkdir()
    (tmp_path / "rdev1" / "cgroup.subtree_control").write_text("")
    assert parent("rdev1", tmp_path) == tmp_path / "rdev1"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (tmp_path / "rdev1" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_tree_that_cannot_be_used_is_no_mistake(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "rdev1").write_text("in the way")
    membership = tmp_path / "membership"
    membership.write_text("0::/\n")
    assert parent("rdev1", tmp_path, membership) is None


def test_box_gets_its_own_group(tmp_path: Path) -> None:
    assert make(tmp_path, "demo", LIMITS) == str(tmp_path / "demo")
    assert (tmp_path / "demo" / "cpu.max").read_text() == "150000 100000"
    for file in (tmp_path / "demo").iterdir():
        file.unlink()
    remove(tmp_path, "demo")
    assert not (tmp_path / "demo").exists()
