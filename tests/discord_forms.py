"""What a client sends when a person presses, chooses, or fills in a modal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from discord_commands import NotOffered
from discord_wire import Wire


def pressed(component: Wire) -> Wire:
    """The data of a pressed button or select."""
    return {"custom_id": component["custom_id"], "component_type": component["type"], "id": component.get("id", 0)}


def chosen(select: Wire, values: Sequence[str]) -> list[str]:
    """The values of chosen values or labels, which must be offered and as many as allowed."""
    options = {one["value"]: one["value"] for one in select.get("options") or ()}
    options |= {one["label"]: one["value"] for one in select.get("options") or ()}
    if any(value not in options for value in values):
        raise NotOffered(f"{values!r} are not all offered")
    if not int(select.get("min_values", 1)) <= len(values) <= int(select.get("max_values", 1)):
        raise NotOffered(f"{len(values)} values are too few or too many")
    return [options[value] for value in values]


def filled(component: Wire, values: dict[str, Any]) -> Wire:
    """One component of a modal as the client sends it back."""
    own: Wire = {"type": component["type"], "id": component.get("id", 0)}
    if component["type"] == 1:
        return own | {"components": [filled(one, values) for one in component["components"]]}
    if component["type"] == 18:
        return own | {"component": filled(component["component"], values)}
    if component["type"] == 10:
        return own
    given = values.get(component["custom_id"], component.get("value") or "")
    if component["type"] != 4:
        return own | {"custom_id": component["custom_id"], "values": chosen(component, given or [])}
    if component.get("required", True) and not given:
        raise NotOffered(f"{component['custom_id']!r} is required")
    if given and not int(component.get("min_length") or 0) <= len(given) <= int(component.get("max_length") or 4000):
        raise NotOffered(f"{component['custom_id']!r} is too short or too long")
    return own | {"custom_id": component["custom_id"], "value": given}
