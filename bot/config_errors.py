"""The mistakes of a configuration file, each as a sentence with its place, and all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from rapidfuzz import process

from bot.errors import UserError
from bot.redaction import Redactor

_SECRET_KEYS = ("key", "token", "secret", "passw", "credential")
NO_SECRETS_HERE = (
    'secrets are never written in this file, which is copied and committed; name a variable, {env = "NAME"}, '
    'or a file, {file = "/path"}'
)
_HIDDEN = "a value that is not shown here"
_SHAPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "too_short": "at least one entry",
    "missing": "this key is required",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in the file."""

    key: str
    """The key path, as `projects.demo.push`; empty for the file as a whole."""
    found: str
    allowed: str
    near: str = ""
    """The nearest name that is known, when one is near."""

    def sentence(self) -> str:
        """The mistake in one line."""
        near = f'; did you mean "{self.near}"?' if self.near else ""
        place = f"{self.key}: " if self.key else ""
        return f"{place}found {self.found}; allowed: {self.allowed}{near}"


class ConfigError(UserError):
    """The configuration cannot be used; the text names every mistake in it."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        super().__init__(Redactor().clean("\n".join(f"{file}: {mistake.sentence()}" for mistake in mistakes)))


def refuse(mistakes: Sequence[Mistake], below: bool = True) -> None:
    """Raise what makes pydantic report the mistakes, if there are any; keys are `below` the field, or whole paths."""
    if mistakes:
        raise PydanticCustomError("refused", "not allowed", {"mistakes": mistakes, "below": below})


def refused(found: str, allowed: str, near: str = "") -> PydanticCustomError:
    """The error by which a validator refuses its own value."""
    return PydanticCustomError(
        "refused", "not allowed", {"mistakes": [Mistake("", found, allowed, near)], "below": True}
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to this one, or nothing when none is close."""
    match = process.extractOne(name.lower(), list(known), score_cutoff=60)
    return str(match[0]) if match else ""


def shown(value: object) -> str:
    """What was found, in words; a value that could be a secret is not repeated."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            if looks_secret(value):
                return _HIDDEN
            return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a table" if value else "an empty table"
        case None:
            return "nothing"
        case _:
            return "a date or time"


def looks_secret(value: str) -> bool:
    """Whether the text has the shape of a key or token."""
    return Redactor().clean(value) != value or "-----BEGIN" in value


def secrets_in(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Mistake]:
    """Every text in the file that has the shape of a secret."""
    found = []
    for key, value in data.items():
        here = (*path, key)
        texts = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            found += secrets_in(value, here)
        elif any(isinstance(text, str) and looks_secret(text) for text in texts):
            found.append(Mistake(dotted(here), "what looks like a secret (not shown)", NO_SECRETS_HERE))
    return found


def explain(error: ValidationError, data: Mapping[str, Any], model: type[BaseModel]) -> list[Mistake]:
    """What pydantic refused, in our words."""
    mistakes: list[Mistake] = []
    for detail in error.errors(include_url=False, include_input=False):
        mistakes += _mistakes(detail, data, model)
    return mistakes


def _mistakes(detail: ErrorDetails, data: Mapping[str, Any], model: type[BaseModel]) -> list[Mistake]:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    ctx = detail.get("ctx", {})
    if "mistakes" in ctx:
        above = dotted(path) if ctx["below"] else ""
        return [replace(m, key=_joined(above, m.key)) for m in ctx["mistakes"]]
    found = _found(path, data)
    if detail["type"] == "extra_forbidden":
        return [_unknown(path, model)]
    if detail["type"] == "literal_error":
        choices = [str(choice) for choice in get_args(_annotation(path, model))]
        raw = _at(path, data)
        near = nearest(raw, choices) if isinstance(raw, str) else ""
        return [Mistake(dotted(path), found, " or ".join(f'"{c}"' for c in choices), near)]
    if detail["type"] in _SHAPES:
        return [Mistake(dotted(path), found, _SHAPES[detail["type"]])]
    return [Mistake(dotted(path), found, detail["msg"].removeprefix("Input should be ").removeprefix("Value error, "))]


def _unknown(path: tuple[str, ...], model: type[BaseModel]) -> Mistake:
    known = _fields(path[:-1], model)
    name = path[-1]
    near = nearest(name, known) or _nested(name, path[:-1], known, model)
    allowed = ", ".join(known)
    if not near and any(word in name.lower() for word in _SECRET_KEYS):
        allowed += f" ({NO_SECRETS_HERE})"
    return Mistake(dotted(path), "an unknown key", allowed, near)


def _nested(name: str, path: tuple[str, ...], tables: Sequence[str], model: type[BaseModel]) -> str:
    """The nearest key one table further down."""
    below = {key: table for table in tables for key in _fields((*path, table), model)}
    key = nearest(name, below)
    return f"{below[key]}.{key}" if key else ""


def _found(path: tuple[str, ...], data: Mapping[str, Any]) -> str:
    if any(word in part for part in path for word in _SECRET_KEYS):
        return "nothing" if _at(path, data) is None else _HIDDEN
    return shown(_at(path, data))


def _at(path: tuple[str, ...], data: Any) -> Any:
    for part in path:
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        elif isinstance(data, Mapping):
            data = data.get(part)
        else:
            return None
    return data


def _fields(path: tuple[str, ...], model: type[BaseModel]) -> list[str]:
    annotation = _annotation(path, model)
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _annotation(path: tuple[str, ...], model: type[BaseModel]) -> Any:
    """The type that stands at that path of the model."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(part)
            annotation = field.annotation if field else None
        else:
            annotation = (get_args(annotation) or (None,))[-1]
    return annotation


def dotted(path: Iterable[str]) -> str:
    """The key path as TOML writes it, with the places in lists in brackets."""
    text = ""
    for part in path:
        plain = part.replace("-", "").replace("_", "").isalnum()
        text = _joined(text, f"[{part}]" if part.isdigit() and text else part if plain else f'"{part}"')
    return text


def _joined(above: str, key: str) -> str:
    return f"{above}.{key}" if above and key and not key.startswith("[") else above + key
