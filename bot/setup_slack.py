"""`rdev setup slack`: the app's manifest, and what each thing in it is for."""

from __future__ import annotations

import json

from bot.commands import COMMANDS

SHORTCUT = "ask_claude"
_SCOPES = (
    ("commands", "/claude, /shell, /git, /rdev and the message shortcut"),
    ("chat:write", "answers, threads and what is told to one person alone"),
    ("app_mentions:read", "“@rdev fix the footer” begins work, too"),
    ("channels:history", "replies in rdev's threads, and reading back after a restart what was shown already"),
    ("groups:history", "the same in private channels that rdev was invited to"),
    ("im:history", "the same in direct messages"),
    ("metadata.message:read", "rdev finds its own messages by what their metadata says"),
    ("reactions:write", "👀 on your reply says that it has arrived"),
    ("files:write", "what is too long for messages comes as a file"),
)
_EVENTS = ("app_mention", "message.channels", "message.groups", "message.im")
_HINTS = {"claude": "project what to do", "shell": "project command", "git": "project arguments", "rdev": "help"}


def instructions() -> str:
    """What to click, with the manifest to paste."""
    return "\n".join(
        [
            "1. https://api.slack.com/apps → Create New App → From a manifest → your workspace. Paste this as JSON:",
            "",
            json.dumps(manifest(), indent=2, ensure_ascii=False),
            "",
            "   Scopes:",
            *(f"   {name:<23}{why}" for name, why in _SCOPES),
            "2. Install App → Install to Workspace. Put the Bot User OAuth Token (xoxb-…) into $SLACK_BOT_TOKEN.",
            "3. Basic Information → App-Level Tokens → Generate, with the scope connections:write, for Socket Mode: no",
            "   address of yours has to be reachable. Put the token (xapp-…) into $SLACK_APP_TOKEN.",
            "   Or by HTTP: switch Socket Mode off, enter https://your.address/slack/events as the request URL of the",
            "   commands, of Event Subscriptions and of Interactivity, and name the Signing Secret in [slack].",
            "4. Add [slack] to rdev.toml, and name people in the projects' rights: slack:<team>/<user>. Slack shows a",
            "   user's id in their profile under ⋮ → Copy member ID, and the team's in its address in a browser.",
            "5. rdev serve, then /invite @rdev in a channel.",
        ]
    )


def manifest() -> dict[str, object]:
    """The app as Slack's own form takes it, for Socket Mode."""
    names = sorted({command.name.split()[0] for command in COMMANDS})
    summaries = {command.name: command.summary for command in COMMANDS}
    commands = [
        {
            "command": f"/{name}",
            "description": summaries.get(name, "What runs and waits, and everything else")[:100],
            "usage_hint": _HINTS.get(name, ""),
            "should_escape": False,
        }
        for name in names
    ]
    shortcut = {
        "name": "Ask Claude about this",
        "type": "message",
        "callback_id": SHORTCUT,
        "description": "Give Claude work about this message",
    }
    return {
        "display_information": {"name": "rdev", "description": "Claude Code on your repositories, in threads"},
        "features": {
            "bot_user": {"display_name": "rdev", "always_online": True},
            "shortcuts": [shortcut],
            "slash_commands": commands,
        },
        "oauth_config": {"scopes": {"bot": [name for name, _ in _SCOPES]}},
        "settings": {
            "event_subscriptions": {"bot_events": list(_EVENTS)},
            "interactivity": {"is_enabled": True},
            "org_deploy_enabled": False,
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
        },
    }
