"""What every table of the configuration file is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True,
        hide_input_in_errors=True, validate_default=True,
    )  # fmt: skip


def read_as(default: object) -> Any:
    """A default that is validated like a value of the file."""
    return Field(default=default)
