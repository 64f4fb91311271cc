"""What a configuration would run, told to the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable

from bot.claude_cli import PINNED, executable
from bot.config import Config, JobLimits, Project, Rights

_PUSH = {
    "auto": "a session's branch goes to the remote after each turn",
    "ask": "a session's branch goes to the remote when somebody approves",
    "never": "nothing goes to the remote",
}
_PERMISSIONS = {
    "bypass": "uses its tools freely inside the sandbox",
    "ask": "asks before it uses a tool",
}


def summary(config: Config) -> str:
    """The whole configuration in words; secrets are named, never shown."""
    claude = "as configured" if config.claude.path else f"pinned to {PINNED}"
    lines = [
        ("state", str(config.state_dir)),
        ("sandboxes", f"on this machine, by {config.backend.bwrap} behind {config.backend.squid}"),
        *_fence(config),
        ("claude", f"{executable(config.claude)}, {claude}; {_choice(config.claude.model, config.claude.effort)}"),
        ("model", f"{config.model.url} ({config.model.auth} in {config.model.key.source}: {_presence(config)})"),
        (
            "at once",
            f"{config.limits.jobs} jobs, {config.limits.jobs_per_project} of one project; {config.limits.queue} wait",
        ),
        *_chats(config),
        ("kept", f"events for {config.retention.events_days} days, the audit log for ever"),
    ]
    parts = [_table(lines)]
    parts += [f"project {name}\n{_table(_project(project))}" for name, project in config.projects.items()]
    return "\n\n".join(parts)


def size(count: int) -> str:
    """Bytes as the configuration writes them."""
    for unit in ("", "KiB", "MiB", "GiB"):
        if count < 1024 or count % 1024:
            return f"{count}{unit}"
        count //= 1024
    return f"{count}TiB"


def _fence(config: Config) -> Iterable[tuple[str, str]]:
    backend = config.backend
    if backend.private_networks:
        yield "private", f"allowed names may resolve into {_list(backend.private_networks)}"
    if backend.hosts:
        yield "hosts", _list(f"{name} is {address}" for name, address in backend.hosts.items())
    if backend.readonly_paths:
        yield "read-only", f"sandboxes also see {_list(str(path) for path in backend.readonly_paths)}"


def _chats(config: Config) -> Iterable[tuple[str, str]]:
    if config.discord is not None:
        token = config.discord.token
        yield "discord", f"token in {token.source}: {'present' if token.value else 'missing'}"
    if (slack := config.slack) is not None:
        way = slack.signing_secret or slack.app_token
        where = f"over HTTP at {slack.listen}" if slack.signing_secret else "by Socket Mode"
        tokens = ((each.source, "present" if each.value else "missing") for each in (slack.bot_token, way))
        yield "slack", f"{where}; " + ", ".join(f"{source}: {there}" for source, there in tokens)


def _presence(config: Config) -> str:
    return "present" if config.model.secret else "missing"


def _project(project: Project) -> Iterable[tuple[str, str]]:
    yield "remote", f"{project.url}, {project.branch or 'its own default branch'}"
    if project.deploy_key:
        yield "key", f"{project.deploy_key}: present"
    protected = f", never to {_list(project.protected)}" if project.protected and project.push != "never" else ""
    yield "push", f"{project.push}: {_PUSH[project.push]}{protected}"
    budget = "no budget" if project.budget_usd is None else f"at most ${project.budget_usd:.2f} a job"
    yield "claude", f"{_PERMISSIONS[project.permissions]}; {budget}; {_choice(project.model, project.effort)}"
    yield "domains", _list(project.domains) if project.domains else "none: jobs reach the model and nothing else"
    yield "limits", _limits(project.limits)
    yield "asks", f"expire after {project.ask_minutes} minutes"
    yield from _rights(project.rights)


def _limits(limits: JobLimits) -> str:
    return (
        f"{limits.cpus:g} CPUs, {size(limits.memory)} memory, {limits.processes} processes, "
        f"files of {size(limits.file_size)}, {limits.minutes} minutes, {size(limits.journal)} of output"
    )


def _rights(rights: Rights) -> Iterable[tuple[str, str]]:
    yield "view", _list((*rights.view, "and whoever may do more")) if rights.view else "whoever may do more"
    yield "run", _list((*rights.run, *rights.admin)) or "nobody"
    yield "approve", _list((*rights.approve, *rights.admin)) or "nobody"
    yield "admin", _list(rights.admin) or "nobody"


def _choice(model: str, effort: str) -> str:
    return f"{model or 'default'} model, {effort or 'default'} effort"


def _list(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<10} {text}" for name, text in rows)
