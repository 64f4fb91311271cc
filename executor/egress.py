"""The one squid of a backend: started apart from us, found again after our death, started again after its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from executor import pids, squid, squid_launch
from executor.errors import BoxFailed
from executor.runtime import Runtime, policy, write_whole

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before squid is started again, doubled after each death."""
_STEADY_SECONDS = 60.0
"""After so long a life the pauses begin anew."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A squid as it is written down, to be known again."""

    proxy_port: int = 0
    model_port: int = 0
    pid: int = 0
    born: str = ""
    """The kernel's start time, which tells the process from a later one of the same number."""
    digest: str = ""
    """Of its configuration."""


class Egress:
    """Keeps squid running while the context is entered; leaving it leaves squid to the jobs that use it."""

    def __init__(self, program: str, state_dir: Path, settings: squid.Settings, runtime: Runtime) -> None:
        self._program = program
        self._settings = settings
        self._runtime = runtime
        self._record = state_dir / "squid.json"
        self._instance = Instance()
        self._pidfd = -1
        self._failure = ""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def model_port(self) -> int:
        """Where squid serves the model API; 0 before its first start."""
        return self._settings.model_port

    async def __aenter__(self) -> Egress:
        with suppress(FileNotFoundError, ValueError, TypeError):
            self._instance = Instance(**json.loads(self._record.read_text(encoding="utf-8")))
        self._use_ports(self._instance.proxy_port, self._instance.model_port)
        self._task = asyncio.create_task(self._keep(), name="squid")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._let_go()

    async def running(self) -> squid.Settings:
        """Return once squid runs: with what, ports included; raises BoxFailed with the reason when it cannot."""
        while self._pidfd < 0:
            if self._failure:
                raise BoxFailed(self._failure)
            self._changed.clear()
            await self._changed.wait()
        return self._settings

    async def stop(self) -> None:
        """End squid for good: where no job needs it any more."""
        await self.__aexit__()
        await self._kill()

    def rotate(self) -> None:
        """Let squid begin new logs and keep the last ones as `.0`."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)

    async def _keep(self) -> None:
        """Find or start squid, wait for its death, and again."""
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                await self._find_or_start()
                self._failure = ""
            except (BoxFailed, OSError) as e:
                self._failure = str(e)
                log.error("squid could not be started: %s", e)
            self._changed.set()
            if self._pidfd >= 0:
                await pids.readable(self._pidfd)
                self._let_go()
                log.warning("squid ended by itself and is started again")
            if loop.time() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _find_or_start(self) -> None:
        known = self._instance
        if known.digest == self._digest() and (fd := pids.opened(known.pid, known.born)) >= 0:
            self._pidfd = fd
            return
        program = squid_launch.find(self._program)
        if self._settings.model.tls:
            await squid_launch.check_tls(program)
        await self._kill()
        self._use_ports(*squid_launch.ports(self._runtime, (known.proxy_port, known.model_port)))
        pid = await squid_launch.launch(program, self._runtime, self._settings)
        ports = (self._settings.proxy_port, self._settings.model_port)
        self._instance = Instance(*ports, pid, pids.start_time(pid), self._digest())
        write_whole(self._record, json.dumps(asdict(self._instance)), 0o600)
        fd = pids.opened(pid, self._instance.born)
        try:
            if fd < 0:
                raise BoxFailed("squid ended at its very start.")
            await squid_launch.answering(fd, self._runtime, self._settings)
        except BaseException:  # raised again; a cancelled start leaves no squid
            if fd >= 0:
                os.close(fd)
            await self._kill()
            pids.bury(pid)
            raise
        self._pidfd = fd

    async def _kill(self) -> None:
        """Squid keeps nothing that an orderly end would save, and takes two seconds to come to one."""
        await pids.kill(self._instance.pid, self._instance.born)
        self._runtime.unshare()

    def _use_ports(self, proxy: int, model: int) -> None:
        self._settings = replace(self._settings, proxy_port=proxy, model_port=model)

    def _digest(self) -> str:
        """What a running squid must have been started with to be the one that is wanted.

        Raises BoxFailed with a sentence where squid could not be told what is wanted.
        """
        try:
            parts = (squid.configuration(self._settings), squid.hosts_file(self._settings.hosts), policy())
        except ValueError as e:
            raise BoxFailed(str(e)) from e
        return sha256("\0".join((self._program, *parts)).encode()).hexdigest()

    def _let_go(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            pids.bury(self._instance.pid)
