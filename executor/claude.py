"""The Claude Code CLI as a job: its argv, its environment, and the lines it is told. Facts of CLI 2.1.329."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from executor.claude_asks import answer_line, control_response

__all__ = [
    "Options",
    "allow",
    "answer_line",
    "argv",
    "deny",
    "environment",
    "interrupt",
    "proxy_environment",
    "set_permission_mode",
    "user",
]

MODEL_URL = "http://127.0.0.1:8318"
PROXY_URL = "http://127.0.0.1:3128"
DUMMY_KEY = "rdev-holds-the-key"
"""Stands where the CLI wants a key; the reverse proxy in front of the model puts the real one in its place."""

ABOUT_THE_BOX = """\
You run in an rdev box: a sandbox in which you have full rights over this worktree. \
The people you work for read along in a chat and answer your questions there.
- The network reaches only the hosts that the team allowed. A refused connection is shown to people, who may allow it; \
do not look for ways around it.
- When your turn ends, rdev commits what changed to this session's branch and pushes it by the team's policy. \
You need not commit, and you cannot push; leave the branch, the worktree and the git configuration as they are."""


@dataclass(frozen=True, slots=True)
class Options:
    """How one turn of a session is run."""

    session_id: str
    """A UUID."""
    resume: bool = False
    """Whether the CLI knows the session already."""
    model: str = ""
    effort: str = ""
    permissions: Literal["bypass", "ask"] = "bypass"
    plan: bool = False
    """Begin with a plan for people to approve; `permissions` says how it goes on after that."""
    budget_usd: float | None = None
    system_prompt: str = ABOUT_THE_BOX
    """Said to Claude beyond the CLI's own system prompt."""
    program: str = "/opt/rdev/claude"

    @property
    def mode(self) -> str:
        """The CLI's permission mode once there is no plan to wait for."""
        return "bypassPermissions" if self.permissions == "bypass" else "default"


def argv(options: Options) -> list[str]:
    """The command line; nothing in it is secret."""
    return [
        options.program,
        "-p",
        *("--input-format", "stream-json", "--output-format", "stream-json", "--verbose"),
        *("--include-partial-messages", "--replay-user-messages", "--permission-prompt-tool", "stdio"),
        *("--resume" if options.resume else "--session-id", options.session_id),
        *("--permission-mode", "plan" if options.plan else options.mode),
        # Without this the CLI refuses to go from plan to bypassPermissions, and `--dangerously-…` would skip the plan.
        *(["--allow-dangerously-skip-permissions"] if options.permissions == "bypass" else []),
        # WebFetch asks the vendor's API about each host first; here squid decides, and knows better.
        *("--settings", json.dumps({"skipWebFetchPreflight": True})),
        *(["--model", options.model] if options.model else []),
        *(["--effort", options.effort] if options.effort else []),
        *(["--max-budget-usd", format(options.budget_usd, "f")] if options.budget_usd is not None else []),
        *(["--append-system-prompt", options.system_prompt] if options.system_prompt else []),
    ]


def environment(
    *,
    auth: Literal["api-key", "oauth"] = "api-key",
    model_url: str = MODEL_URL,
    proxy_url: str = PROXY_URL,
    max_retries: int | None = None,
) -> dict[str, str]:
    """What the CLI needs in its environment, besides PATH and HOME; no key of ours is in it."""
    return {
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY" if auth == "api-key" else "CLAUDE_CODE_OAUTH_TOKEN": DUMMY_KEY,
        "CLAUDE_CONFIG_DIR": "/home/agent/.claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "IS_SANDBOX": "1",
        **({"CLAUDE_CODE_MAX_RETRIES": str(max_retries)} if max_retries is not None else {}),
        **proxy_environment(proxy_url),
    }


def proxy_environment(proxy_url: str = PROXY_URL) -> dict[str, str]:
    """What tells any program of the box the way out."""
    # The model's port is on loopback, and squid refuses IP literals: loopback must not go through the proxy. Nothing
    # else is exempt, so that every other name is squid's to judge.
    direct = "127.0.0.1,localhost,::1"
    return {
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy_url),
        "NO_PROXY": direct,
        "no_proxy": direct,
        "NODE_USE_ENV_PROXY": "1",
    }


def user(text: str, uuid: str) -> bytes:
    """The line that says something to Claude; the CLI takes the same uuid once, so sending it again is safe."""
    return _line({"type": "user", "message": {"role": "user", "content": text}, "uuid": uuid})


def interrupt(request_id: str) -> bytes:
    """The line that ends the running turn; the process lives on."""
    return _control(request_id, {"subtype": "interrupt"})


def set_permission_mode(request_id: str, mode: str) -> bytes:
    """The line that changes the permission mode: default, plan or bypassPermissions."""
    return _control(request_id, {"subtype": "set_permission_mode", "mode": mode})


def allow(request_id: str, rules: Sequence[dict[str, Any]] = ()) -> bytes:
    """The line that lets a tool call run as Claude made it."""
    return control_response(request_id, {"behavior": "allow", **({"updatedPermissions": list(rules)} if rules else {})})


def deny(request_id: str, message: str, *, interrupt: bool = False) -> bytes:
    """The line that refuses a tool call; Claude reads the message, or its turn ends."""
    return control_response(
        request_id, {"behavior": "deny", "message": message, **({"interrupt": True} if interrupt else {})}
    )


def _control(request_id: str, request: dict[str, Any]) -> bytes:
    return _line({"type": "control_request", "request_id": request_id, "request": request})


def _line(message: dict[str, Any]) -> bytes:
    # ASCII only: no line separator and no lone surrogate of a person's text can tear or spoil the line.
    return json.dumps(message).encode() + b"\n"
