"""Secrets of the configuration: named in the file, kept in the environment or in files of their own."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, ValidationInfo, model_validator

from bot.config_errors import NO_SECRETS_HERE, refused
from bot.config_values import FilePath, Surroundings, Variable, surroundings

OTHERS = stat.S_IRWXO
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What ssh itself demands of a private key."""


class Secret(BaseModel):
    """Where a secret is: a variable of the service's environment, or a file that only its user reads."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    env: Variable | None = None
    """The variable's name."""
    file: FilePath | None = None
    """The file's path; surrounding white space is not part of the secret."""
    _value: SecretStr | None = PrivateAttr(None)

    @property
    def value(self) -> SecretStr | None:
        """The secret; None when its variable is not set."""
        return self._value

    @property
    def source(self) -> str:
        """Where it is, in words."""
        return f"${self.env}" if self.env else str(self.file)

    @model_validator(mode="before")
    @classmethod
    def _not_the_secret_itself(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise refused("text in the place of a secret (not shown)", NO_SECRETS_HERE)
        return value

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> Self:
        if (self.env is None) == (self.file is None):
            found = "both env and file" if self.env else "neither env nor file"
            raise refused(found, '{env = "NAME"} or {file = "/path"}')
        around = surroundings(info)
        if around is not None:
            self._value = self._resolved(around)
        return self

    def _resolved(self, around: Surroundings) -> SecretStr | None:
        if self.file is not None:
            text = _text_of(self.file)
        elif self.env is not None:
            text = around.environ.get(self.env, "")
        text = text.strip()
        if not text and self.env is not None:
            return None
        if not re.fullmatch(r"[!-~]{1,8192}", text):
            raise refused(f"an empty or unprintable value in {self.source}", "one line of printable characters")
        return SecretStr(text)


def _text_of(path: Path) -> str:
    private_file(path, OTHERS, "a file")
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise refused(f'"{path}", which cannot be read as text', "a readable file with the secret") from None


def private_file(path: Path, forbidden: int, what: str) -> None:
    """Refuse a file that is not there, or whose mode has one of the `forbidden` bits."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise refused(f'"{path}" ({error.strerror})', f"{what} that exists") from None
    if not stat.S_ISREG(mode):
        raise refused(f'"{path}", which is not a file', what)
    if mode & forbidden:
        found = f'"{path}" with mode {stat.S_IMODE(mode):04o}, which other accounts can use'
        raise refused(found, f"{what} of the service's own user: chmod 600 {path}")
