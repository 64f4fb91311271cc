"""A project as the service sees it: its configuration, and the parts that its work goes through."""

from __future__ import annotations

from dataclasses import dataclass

from bot.config import Project
from bot.stream import Stream
from executor.backend import Backend, Box
from executor.durable import Boxrun
from executor.repository import Repository


@dataclass(frozen=True, slots=True)
class Site:
    """One project's parts, made by the composition root."""

    id: str
    project: Project
    box: Box
    backend: Backend
    repository: Repository
    boxrun: Boxrun
    stream: Stream
