"""What Discord refuses in the bodies of messages, modals and commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from discord_nouns import Message, Upload
from discord_wire import V2, Wire, walk

OLD_RETRY = 0.2  # seconds; Discord does not say how long it asks one to wait
FILE_BYTES = 10 * 1024 * 1024
REQUEST_BYTES = 25 * 1024 * 1024
ARCHIVE_MINUTES = (60, 1440, 4320, 10080)
LEGACY = (1, 2, 3, 5, 6, 7, 8)
COMMAND_NAME = re.compile(r"[-_'\w]{1,32}")


class Refusal(Exception):
    """An answer of 4xx with Discord's own error code."""

    def __init__(self, status: int, code: int, message: str, errors: Wire | None = None) -> None:
        super().__init__(f"{status} {code} {message} {errors or ''}")
        self.status = status
        self.code = code
        self.body: Wire = {"message": message, "code": code} | ({"errors": errors} if errors else {})
        self.headers: dict[str, str] = {}
        if status == 429:
            self.body |= {"retry_after": OLD_RETRY, "global": False}
            self.headers = {"Via": "1.1 google", "Retry-After": "1"}


def invalid(path: str, code: str, words: str) -> Refusal:
    """Invalid form body: what is wrong at a dotted path."""
    errors: Wire = {"_errors": [{"code": code, "message": words}]}
    for key in reversed(path.split(".")):
        errors = {key: errors}
    return Refusal(400, 50035, "Invalid Form Body", errors)


def length(path: str, value: Any, low: int, high: int) -> None:
    """Refuse a text that is too short or too long."""
    if not isinstance(value, str):
        raise invalid(path, "BASE_TYPE_REQUIRED", "This field is required")
    if len(value) > high:
        raise invalid(path, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")
    if len(value) < low:
        raise invalid(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def between(path: str, count: int, low: int, high: int) -> None:
    """Refuse a list that is too short or too long."""
    if not low <= count <= high:
        raise invalid(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def check_files(files: Sequence[Upload]) -> None:
    """Ten files of 10 MiB, 25 MiB in all."""
    if len(files) > 10:
        raise Refusal(400, 30015, "Maximum number of attachments in a message reached (10)")
    if sum(len(file.data) for file in files) > REQUEST_BYTES or any(len(file.data) > FILE_BYTES for file in files):
        raise Refusal(413, 40005, "Request entity too large")


def check_message(body: Wire, files: Sequence[Upload], old: Message | None = None, *, prefix: str = "") -> None:
    """Everything about a message's body that does not depend on where it goes; `old` is what an edit changes."""
    check_files(files)
    flags = int(body.get("flags") or 0) | (old.flags & V2 if old else 0)
    components = body.get("components") if body.get("components") is not None else (old.components if old else [])
    if flags & V2:
        for name in ("content", "embeds", "poll", "sticker_ids"):
            left = old is not None and name not in body and getattr(old, name, None)
            if body.get(name) or left:
                code = "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"
                raise invalid(prefix + name, code, f"The '{name}' field cannot be used when using components v2")
        check_new_components(components or [], prefix)
    else:
        check_words(body, prefix)
        check_old_components(components or [], prefix)
    check_each(components or [], prefix)
    if nonce := body.get("nonce"):
        length(prefix + "nonce", str(nonce), 1, 25)
    if old is None and not (body.get("content") or "").strip() and not (body.get("embeds") or components or files):
        raise Refusal(400, 50006, "Cannot send an empty message")


def check_words(body: Wire, prefix: str) -> None:
    length(prefix + "content", body.get("content") or "", 0, 2000)
    embeds = body.get("embeds") or []
    between(prefix + "embeds", len(embeds), 0, 10)
    total = 0
    for index, embed in enumerate(embeds):
        fields = embed.get("fields") or []
        between(f"{prefix}embeds.{index}.fields", len(fields), 0, 25)
        length(f"{prefix}embeds.{index}.title", embed.get("title") or "", 0, 256)
        length(f"{prefix}embeds.{index}.description", embed.get("description") or "", 0, 4096)
        words = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text")]
        words += [(embed.get("author") or {}).get("name"), *(one[key] for one in fields for key in ("name", "value"))]
        total += sum(len(word) for word in words if word)
    if total > 6000:
        raise invalid(prefix + "embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def check_old_components(components: Sequence[Wire], prefix: str) -> None:
    """Rows of buttons or one select, five at most."""
    between(prefix + "components", len(components), 0, 5)
    for path, one in walk(components, prefix + "components"):
        if one["type"] not in LEGACY or (path.count(".components.") == 0 and one["type"] != 1):
            raise invalid(path, "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (1,).')


def check_new_components(components: Sequence[Wire], prefix: str) -> None:
    """Forty components, counted through, and 4,000 characters of text."""
    every = list(walk(components, prefix + "components"))
    if len(every) > 40:
        code = "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED"
        raise invalid(prefix + "components", code, "The maximum number of total components is 40")
    if not every:
        raise Refusal(400, 50006, "Cannot send an empty message")
    texts = [(path, one.get("content")) for path, one in every if one["type"] == 10]
    for path, text in texts:
        length(f"{path}.content", text, 1, 4000)
    if sum(len(str(text)) for _, text in texts) > 4000:
        code = "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED"
        raise invalid(prefix + "components", code, "Component displayable text size exceeds maximum size of 4000")


def check_each(components: Sequence[Wire], prefix: str) -> None:
    """The limits of each component, and that no two have one custom_id."""
    used: set[str] = set()
    for path, one in walk(components, prefix + "components"):
        match one["type"]:
            case 1:
                check_row(path, one)
            case 2:
                check_button(path, one)
            case 3:
                check_select(path, one)
            case 9:
                between(f"{path}.components", len(one.get("components") or []), 1, 3)
            case 4 | 18 | 19:
                raise invalid(path, "UNION_TYPE_CHOICES", "This component belongs in a modal.")
        if (custom := one.get("custom_id")) is not None:
            length(f"{path}.custom_id", custom, 1, 100)
            if custom in used:
                code = "COMPONENT_CUSTOM_ID_DUPLICATED"
                raise invalid(f"{path}.custom_id", code, "Component custom id cannot be duplicated")
            used.add(custom)


def check_row(path: str, row: Wire) -> None:
    kinds = [one["type"] for one in row.get("components") or []]
    between(f"{path}.components", len(kinds), 1, 5)
    if len(kinds) > 1 and any(kind != 2 for kind in kinds):
        raise invalid(
            f"{path}.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds the maximum width"
        )


def check_button(path: str, button: Wire) -> None:
    length(f"{path}.label", button.get("label") or "", 0 if button.get("emoji") else 1, 80)
    if button.get("style") == 5:
        length(f"{path}.url", button.get("url"), 1, 512)
    elif button.get("style") != 6:
        length(f"{path}.custom_id", button.get("custom_id"), 1, 100)


def check_select(path: str, select: Wire) -> None:
    options = select.get("options") or []
    length(f"{path}.custom_id", select.get("custom_id"), 1, 100)
    length(f"{path}.placeholder", select.get("placeholder") or "", 0, 150)
    between(f"{path}.options", len(options), 1, 25)
    for index, option in enumerate(options):
        for name, low in (("label", 1), ("value", 1), ("description", 0)):
            length(f"{path}.options.{index}.{name}", option.get(name) or "", low, 100)
    if len({option["value"] for option in options}) < len(options):
        code = "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED"
        raise invalid(f"{path}.options", code, "The specified option value is already used")
    if int(select.get("max_values", 1)) > len(options):
        raise invalid(f"{path}.max_values", "NUMBER_TYPE_MAX", f"Must be at most {len(options)}.")


def check_modal(modal: Wire) -> None:
    """A title of 45, one to five rows, labels or texts, and inputs within limits."""
    length("data.title", modal.get("title"), 1, 45)
    length("data.custom_id", modal.get("custom_id"), 1, 100)
    between("data.components", len(modal.get("components") or []), 1, 5)
    used: set[str] = set()
    for path, one in walk(modal["components"], "data.components"):
        match one["type"]:
            case 4:
                check_input(path, one)
            case 3:
                check_select(path, one)
            case 18:
                length(f"{path}.label", one.get("label"), 1, 45)
                length(f"{path}.description", one.get("description") or "", 0, 100)
            case 2:
                raise invalid(path, "UNION_TYPE_CHOICES", "A modal has no buttons.")
        if (custom := one.get("custom_id")) is not None:
            if custom in used:
                raise invalid(path, "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
            used.add(custom)


def check_input(path: str, field: Wire) -> None:
    length(f"{path}.custom_id", field.get("custom_id"), 1, 100)
    if ".component." not in path and not path.endswith(".component"):
        length(f"{path}.label", field.get("label"), 1, 45)
    length(f"{path}.placeholder", field.get("placeholder") or "", 0, 100)
    length(f"{path}.value", field.get("value") or "", 0, 4000)
    if int(field.get("max_length") or 1) > 4000:
        raise invalid(f"{path}.max_length", "NUMBER_TYPE_MAX", "int value should be less than or equal to 4000.")


def check_choices(choices: Sequence[Wire]) -> None:
    """Twenty-five choices with names and values of 100 characters."""
    between("data.choices", len(choices), 0, 25)
    for index, choice in enumerate(choices):
        length(f"data.choices.{index}.name", choice.get("name"), 1, 100)
        length(f"data.choices.{index}.value", str(choice.get("value")), 0, 100)
