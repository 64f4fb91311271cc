"""Permission bits, and what the bot may do where."""

from __future__ import annotations

from collections.abc import Iterable

from discord_nouns import Channel, Role, User
from discord_refusals import Refusal

BITS = {
    "add_reactions": 1 << 6,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "send_messages_in_threads": 1 << 38,
}
EVERYONE = sum(bit for name, bit in BITS.items() if not name.startswith("manage_"))
ALL = sum(BITS.values())


def bits(names: Iterable[str]) -> int:
    """The bits of named permissions."""
    return sum(BITS[name] for name in names)


def permissions(user: User, channel: Channel, roles: dict[int, Role], owner: int) -> int:
    """What a member may do in a channel or in a thread of it."""
    if user.id == owner:
        return ALL
    allowed = roles[channel.guild].permissions
    for role in user.roles:
        allowed |= roles[role].permissions
    home = channel.parent or channel
    for who in (channel.guild, *user.roles, user.id):
        allow, deny = home.overwrites.get(who, (0, 0))
        allowed = allowed & ~deny | allow
    return allowed if allowed & BITS["view_channel"] else 0


def demand(allowed: int, *names: str) -> None:
    """Refuse what the bits do not allow: a channel that is not seen is told apart."""
    if not allowed & BITS["view_channel"]:
        raise Refusal(403, 50001, "Missing Access")
    if not all(allowed & BITS[name] for name in names):
        raise Refusal(403, 50013, "Missing Permissions")
