"""The command line, and the composition root: the one place that knows every part."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from adapters.console import Console
from adapters.transcript import Transcript
from bot import cli
from bot.board import Board, Chat
from bot.claude_cli import executable
from bot.config import Config, Project
from bot.context import Context
from bot.delivery import Deliveries, Surface
from bot.errors import UserError
from bot.lookup import Lookup
from bot.record import Parts
from bot.redaction import Redactor
from bot.runner import Runner
from bot.serve import Connection, until_told
from bot.service import Service
from bot.site import Site
from bot.store import Store
from bot.stream import Stream
from bot.upkeep import background, expire, forget, report_denials
from executor.backend import Box, Limits
from executor.durable import Boxrun
from executor.errors import ExecutorError
from executor.local import LocalBackend
from executor.repository import Repository


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of the command line and return its exit code."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except (UserError, ExecutorError) as error:
        print(error, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rdev", description="Run Claude Code on your repositories, from chat.")
    parser.add_argument(
        "--config", metavar="FILE", help="the configuration; else $RDEV_CONFIG, ./rdev.toml, /etc/rdev/"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chat = commands.add_parser("chat", help="the service with a terminal that behaves as a chat does")
    chat.add_argument("--command", action="append", default=[], metavar="TEXT", help="run this and leave; repeatable")
    chat.add_argument("--thread", default="", help="begin in this thread")
    chat.set_defaults(run=_chat)
    serve = commands.add_parser("serve", help="the service with the chats that are configured, until it is told to end")
    serve.set_defaults(run=_serve)
    setup = commands.add_parser("setup", help="how to bring rdev to a chat platform, step by step")
    setup.add_argument("platform", choices=("discord", "slack"))
    setup.set_defaults(run=cli.setup)
    demo = commands.add_parser("demo", help="the main job on a small project of its own, end to end")
    demo.add_argument("--keep", metavar="DIR", help="leave everything in this directory, to look at")
    demo.set_defaults(run=cli.demo)
    config = commands.add_parser("config", help="check the configuration, or print its JSON Schema")
    config.add_argument("what", choices=("check", "schema"))
    config.set_defaults(run=cli.config)
    audit = commands.add_parser("audit", help="verify the audit log's chain, or export it as JSON lines")
    audit.add_argument("what", choices=("verify", "export"))
    audit.set_defaults(run=cli.audit)
    doctor = commands.add_parser("doctor", help="check this machine, and say how to mend what is missing")
    doctor.set_defaults(run=cli.doctor)
    return parser


def _chat(args: argparse.Namespace) -> int:
    # With CPython's 5 ms a busy event loop starves the store's thread, and commits take hundreds of milliseconds.
    sys.setswitchinterval(0.0005)
    config = cli.load(args)
    cli.log_to(config.state_dir / "rdev.log")

    async def run() -> int:
        transcript = Transcript(config.state_dir / "console")
        async with serving(config, [transcript]) as service:
            console = Console(service, transcript, f"local:{os.getuid()}")
            if args.command:
                return await console.run_commands(args.command)
            await console.run()
            return 0

    return asyncio.run(run())


def _serve(args: argparse.Namespace) -> int:
    sys.setswitchinterval(0.0005)  # as for `chat`
    config = cli.load(args)
    cli.log_to_stderr()

    async def run() -> None:
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(each) for each in _connections(config)]
            chats = [each.chat for each in connections]
            await until_told(serving(config, [], chats), connections)

    asyncio.run(run())
    return 0


def _connections(config: Config) -> list[AbstractAsyncContextManager[Connection]]:
    """The chats that are configured; each platform's library is imported only where it is used."""
    found: list[AbstractAsyncContextManager[Connection]] = []
    if config.discord is not None:
        from adapters.discord import connected  # noqa: PLC0415

        found.append(connected(config.discord))
    if config.slack is not None:
        from adapters.slack_link import connected as connected_slack  # noqa: PLC0415

        found.append(connected_slack(config.slack))
    if not found:
        raise UserError(
            "No chat is configured: add [discord] or [slack], or talk to rdev in a terminal with rdev chat."
        )
    return found


@asynccontextmanager
async def serving(config: Config, surfaces: Sequence[Surface], chats: Sequence[Chat] = ()) -> AsyncIterator[Service]:
    """The service with all its parts; when the context is left, running jobs go on in their boxes."""
    async with AsyncExitStack() as stack:
        stack.enter_context(cli.only_one(config.state_dir))
        store = await stack.enter_async_context(Store.open(config.state_dir / "rdev.db"))
        backend = await stack.enter_async_context(_backend(config))
        sites = {name: _site(name, project, backend) for name, project in config.projects.items()}
        redactor = Redactor(_secrets(config))
        quiet = frozenset(name for name, project in config.projects.items() if project.quiet)
        boards = [Board(store, chat, quiet=quiet) for chat in chats]
        deliveries = await stack.enter_async_context(Deliveries(store, [*surfaces, *boards]))
        parts = Parts(store, redactor, config.claude, config.model.auth)
        runner = await stack.enter_async_context(Runner(sites, parts, config.limits))
        await stack.enter_async_context(
            background(
                partial(expire, store, runner),
                partial(forget, store, list(sites.values()), config.retention.events_days),
                partial(report_denials, backend, runner),
            )
        )
        context = Context(sites, Lookup(sites, store), store, runner, deliveries, time.time)
        yield Service(context, redactor)


def _backend(config: Config) -> LocalBackend:
    local, model = config.backend, config.model
    return LocalBackend(
        config.state_dir,
        claude=executable(config.claude),
        bwrap=local.bwrap,
        squid=local.squid,
        model_url=model.url,
        model_key=model.secret,
        model_auth=model.auth,
        private_networks=local.private_networks,
        hosts=local.hosts,
        readonly_paths=local.readonly_paths,
    )


def _site(name: str, project: Project, backend: LocalBackend) -> Site:
    limits = project.limits
    boxrun = Boxrun(backend, name)
    return Site(
        id=name,
        project=project,
        box=Box(
            name,
            project.domains,
            Limits(limits.cpus, limits.memory, limits.processes, limits.file_size),
            project.deploy_key,
            project.known_hosts,
        ),
        backend=backend,
        repository=Repository(backend, name, project.url, project.branch, protected=project.protected),
        boxrun=boxrun,
        stream=Stream(boxrun, name),
    )


def _secrets(config: Config) -> Iterator[str]:
    """What must never be shown or stored, for the redactor."""
    if (key := config.model.secret) is not None:
        yield key.get_secret_value()
    if config.discord is not None and (token := config.discord.token.value) is not None:
        yield token.get_secret_value()
    for secret in () if config.slack is None else config.slack.secrets():
        if secret.value is not None:
            yield secret.value.get_secret_value()
    for project in config.projects.values():
        if project.deploy_key is not None:
            yield project.deploy_key.read_text()


if __name__ == "__main__":
    sys.exit(main())
