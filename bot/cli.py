"""The commands of the command line that need no surface and no box."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from typing_extensions import override

from bot import config as configuration
from bot import doctor as checks
from bot.config import Config
from bot.config_summary import summary
from bot.demo import run as run_demo
from bot.errors import UserError
from bot.setup_discord import instructions as discord_instructions
from bot.setup_slack import instructions as slack_instructions
from bot.store import Store


def load(args: argparse.Namespace) -> Config:
    """The configuration that the arguments and the environment name."""
    return configuration.load(configuration.locate(args.config, os.environ), os.environ)


def config(args: argparse.Namespace) -> int:
    """`rdev config check` and `rdev config schema`."""
    print(configuration.schema_json() if args.what == "schema" else summary(load(args)))
    return 0


def audit(args: argparse.Namespace) -> int:
    """`rdev audit verify` and `rdev audit export`; verify's exit code is 1 where the chain is broken."""
    path = load(args).state_dir / "rdev.db"
    if not path.exists():
        raise UserError(f"There is no store at {path} yet.")
    return asyncio.run(_verify(path) if args.what == "verify" else _export(path))


async def _verify(path: Path) -> int:
    async with Store.open(path) as store:
        wrong = await store.verify()
        count = next((row.seq for row in await store.audit(limit=1)), 0)
    for sentence in wrong:
        print(sentence)
    if not wrong:
        print(f"The audit log is whole: {count} entries, each chained to the one before.")
    return 1 if wrong else 0


async def _export(path: Path) -> int:
    async with Store.open(path) as store:
        async for row in store.export():
            sys.stdout.write(row)
    return 0


def demo(args: argparse.Namespace) -> int:
    """`rdev demo`."""
    return run_demo(args.keep, os.environ)


def doctor(args: argparse.Namespace) -> int:
    """`rdev doctor`: exit code 1 where something must be mended."""
    results = asyncio.run(checks.checks(load(args), os.environ))
    print(checks.report(results))
    return 0 if all(result.ok for result in results) else 1


def setup(args: argparse.Namespace) -> int:
    """`rdev setup discord` and `rdev setup slack`; they work before there is a configuration, too."""
    slack = args.platform == "slack"
    print(slack_instructions() if slack else discord_instructions(os.environ.get("DISCORD_TOKEN", "")))
    return 0


def log_to_stderr() -> None:
    """Send the log to standard error, where systemd and containers look for it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JobFormatter("%(asctime)s %(levelname)s %(name)s%(job)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_to(path: Path) -> None:
    """Send the log to a file that never grows beyond 4 × 8 MiB: the terminal belongs to the chat."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = RotatingFileHandler(path, maxBytes=8 << 20, backupCount=3, encoding="utf-8")
    handler.setFormatter(_JobFormatter("%(asctime)s %(levelname)s %(name)s%(job)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    path.chmod(0o600)


class _JobFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        job = getattr(record, "job", "")
        record.__dict__["job"] = f" {job}" if job else ""
        return super().format(record)


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; raises UserError where another rdev holds it."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise UserError(
                f"Another rdev (process {lock.read().strip() or 'unknown'}) uses {state_dir}. "
                "End it first, or name another state_dir in the configuration."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
