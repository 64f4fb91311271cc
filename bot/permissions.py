"""Who may do what in a project: nobody, but for those whom the configuration names."""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase

from bot.config import Project
from bot.errors import Forbidden


class Right(StrEnum):
    """What an actor may do in a project."""

    VIEW = "view"
    """See sessions, output and diffs."""
    RUN = "run"
    """Start, continue and stop work."""
    APPROVE = "approve"
    """Answer what the work asks: permissions, domains, pushes."""
    ADMIN = "admin"
    """Everything."""


_DOING = {
    Right.VIEW: "look into",
    Right.RUN: "run anything in",
    Right.APPROVE: "answer for",
    Right.ADMIN: "administer",
}


def allowed(project: Project, actor: str, right: Right) -> bool:
    """Whether the actor has the right, by name or by pattern."""
    surface, colon, name = actor.partition(":")
    if not (surface and colon and name):
        return False  # "*" means every known actor, and whoever has no name is none
    return any(fnmatchcase(actor, pattern) for pattern in _holders(project, right))


def require(name: str, project: Project, actor: str, right: Right) -> None:
    """Do nothing for an actor who has the right in the project of that name.

    Raises Forbidden, which says whom to ask.
    """
    if not allowed(project, actor, right):
        raise Forbidden(f"{actor or 'Nobody'} may not {_DOING[right]} {name}; {_whom_to_ask(project)}.")


def _holders(project: Project, right: Right) -> tuple[str, ...]:
    rights = project.rights
    match right:
        case Right.VIEW:
            return (*rights.view, *rights.run, *rights.approve, *rights.admin)
        case Right.RUN:
            return (*rights.run, *rights.admin)
        case Right.APPROVE:
            return (*rights.approve, *rights.admin)
        case Right.ADMIN:
            return rights.admin


def _whom_to_ask(project: Project) -> str:
    people = [actor for actor in project.rights.admin if not set(actor) & set("*?[")]
    if not people:
        return "ask whoever keeps rdev's configuration"
    *others, last = people
    return f"ask {', '.join(others)} or {last}" if others else f"ask {last}"
