"""`rdev setup discord`: the invitation, and what each thing in it is for."""

from __future__ import annotations

import base64
import binascii

_PERMISSIONS = (
    (10, "View Channels", "commands and threads happen in channels"),
    (11, "Send Messages", "answers of commands, under which threads hang"),
    (35, "Create Public Threads", "each piece of work has a thread of its own"),
    (38, "Send Messages in Threads", "the work is shown there"),
    (15, "Attach Files", "what is too long for messages comes as a file"),
    (16, "Read Message History", "after a restart rdev reads back what it has shown already"),
    (6, "Add Reactions", "👀 on your reply says that it has arrived"),
)


def instructions(token: str) -> str:
    """What to click, with the link ready where the token says which application it is of."""
    bits = sum(1 << bit for bit, _, _ in _PERMISSIONS)
    identity = application(token) or "YOUR_APPLICATION_ID"
    link = f"https://discord.com/oauth2/authorize?client_id={identity}&scope=bot+applications.commands"
    rows = [f"   {name:<26}{why}" for _, name, why in _PERMISSIONS]
    return "\n".join(
        [
            "1. https://discord.com/developers/applications → New Application → Bot.",
            "   Reset Token, and put what it shows into $DISCORD_TOKEN (or what [discord] names).",
            "   Switch on “Message Content Intent”: without it rdev cannot read replies in its threads.",
            "   No other intent is used.",
            "2. Open this, and choose your server:",
            f"   {link}&permissions={bits}",
            "   Scopes: bot (to be there), applications.commands (to have /claude, /shell, /git and /rdev).",
            "   Permissions:",
            *rows,
            "3. Name people in the projects' rights: discord:<user id>. Discord shows it by Copy User ID, once",
            "   Settings → Advanced → Developer Mode is on.",
            "4. rdev serve",
        ]
    )


def application(token: str) -> str:
    """The application's id, which is the first part of its bot's token; empty where it cannot be read."""
    first = token.partition(".")[0]
    try:
        identity = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return identity if identity.isdigit() else ""
