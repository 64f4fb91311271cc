"""The local backend: boxes are directories of this machine, commands run in bubblewrap, squid is the way out."""

from __future__ import annotations

import asyncio
import os
import platform
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from executor import cgroup, denials, host, processes, sandbox, selftest
from executor.backend import Box, BoxState, BoxStatus, Container, Denial
from executor.boxes import Boxes, Place, remove
from executor.durable import Boxrun
from executor.egress import Egress
from executor.errors import BoxFailed, ExecutorError
from executor.leftovers import any_runs, stop_all
from executor.outside import command
from executor.runtime import Runtime, write_whole
from executor.squid import ModelApi, Secret, Settings, allow_file, denial


class LocalBackend:
    """executor.backend.Backend on this machine; leaving its context ends squid, unless jobs still run."""

    def __init__(
        self,
        state_dir: Path,
        *,
        claude: Path,
        model_url: str,
        model_key: Secret | None = None,
        model_auth: Literal["api-key", "oauth"] = "api-key",
        model_ca: Path | None = None,
        bwrap: str = "bwrap",
        squid: str = "squid",
        private_networks: Sequence[str] = (),
        hosts: Mapping[str, str] | None = None,
        readonly_paths: Sequence[Path] = (),
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._claude = claude
        self._bwrap = bwrap
        self._readonly_paths = tuple(readonly_paths)
        self._boxes = Boxes(self._state_dir)
        self._runtime = Runtime(self._state_dir)
        model = ModelApi(model_url, model_key, model_auth, str(model_ca or ""))
        settings = Settings(str(self._runtime.path), 0, 0, model, tuple(private_networks), hosts or {}, os.geteuid())
        self._egress = Egress(squid, self._state_dir, settings, self._runtime)
        self._group: Path | None = None
        self._host: sandbox.Host | None = None
        self._status: dict[str, BoxStatus] = {}
        self._proven: dict[str, tuple[Box, Settings]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._commands: defaultdict[str, set[processes.Running]] = defaultdict(set)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> LocalBackend:
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state_dir.chmod(0o700)
        self._boxes.load()
        self._runtime.make()
        self._group = cgroup.parent(self._runtime.name)
        up = set(self._runtime.allowed())
        for place in self._boxes:
            self._set(place.project, BoxState.RUNNING if place.address in up else BoxState.STOPPED)
        await self._stack.enter_async_context(self._egress)
        removing = asyncio.create_task(remove(self._boxes.gone()), name="remove deleted boxes")
        self._stack.push_async_callback(_cancelled, removing)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._stack:
            if not await self._has_jobs():
                await self._egress.stop()
                self._runtime.remove()

    async def start(self, box: Box) -> None:
        """Bring the box to Running, or leave it so; proves that squid is the only way out.

        Raises BoxFailed with the reason as a sentence.
        """
        async with self._locks[box.project]:
            try:
                settings = await self._egress.running()
                if self._proven.get(box.project) != (box, settings):
                    self._set(box.project, BoxState.STARTING)
                    await self._bring_up(box, settings)
            except BoxFailed as e:
                self._proven.pop(box.project, None)
                self._set(box.project, BoxState.FAILED, str(e))
                raise
            self._proven[box.project] = (box, settings)
            self._set(box.project, BoxState.RUNNING)

    async def stop(self, project: str) -> None:
        """Kill everything in the box and keep its workspace."""
        async with self._locks[project]:
            await self._stop(project)

    async def delete(self, project: str) -> None:
        """Stop the box and remove its workspace."""
        async with self._locks[project]:
            await self._stop(project)
            gone = self._boxes.remove(project)
            cgroup.remove(self._group, project)
            self._status.pop(project, None)
        await remove([gone] if gone else [])

    async def status(self) -> Mapping[str, BoxStatus]:
        """Every box there is, by project."""
        return dict(self._status)

    @asynccontextmanager
    async def exec(
        self,
        project: str,
        argv: Sequence[str],
        *,
        container: Container = Container.AGENT,
        cwd: str = "",
    ) -> AsyncIterator[processes.Running]:
        """Run a short command; leaving the context kills it.

        Raises BoxFailed where the project has no box yet, ExecutorError where the command cannot be started.
        """
        place = self._place(project)
        what = command(place, argv, container, cwd)
        async with AsyncExitStack() as stack:
            try:
                process = await stack.enter_async_context(processes.run(what.argv, env=what.env, cwd=what.cwd))
            except OSError as e:
                raise ExecutorError(f"{what.argv[0]} could not be started: {e.strerror}") from e
            if container is not Container.BOXRUN:
                self._commands[project].add(process)
                stack.callback(self._commands[project].discard, process)
            yield process

    async def allow(self, project: str, slot: int, domains: Sequence[str]) -> None:
        """Set what may be reached, from now on: slot 0 for the whole box, else what one slot may reach beyond that.

        Raises ExecutorError with a sentence for what is no domain.
        """
        place = self._place(project)
        try:
            text = allow_file(domains)
        except ValueError as e:
            raise ExecutorError(str(e)) from e
        if slot == 0:
            self._runtime.allow(place.address, text)
        elif text:
            self._runtime.allow(f"{place.address}.{slot}", text)
        else:
            self._runtime.forget(f"{place.address}.{slot}")

    async def denials(self) -> AsyncIterator[Denial]:
        """Refused connections as they happen, until cancelled; one reader."""
        cursor = self._state_dir / "denials.json"
        async with aclosing(
            denials.follow(self._runtime.access_log, cursor, self._denial, self._egress.rotate)
        ) as found:
            async for one in found:
                yield one

    async def capabilities(self) -> list[str]:
        """What is enforced on this machine and what is not, as sentences; raises BoxFailed where nothing can run."""
        return host.tell(await self._look(), self._group, self._boxes.first_uid)

    async def _bring_up(self, box: Box, settings: Settings) -> None:
        machine = await self._look()
        place = self._boxes.add(box.project)
        await asyncio.to_thread(place.make, platform.machine())
        place.note(box)
        write_whole(place.wrap, sandbox.wrap_file(machine, self._wrapping(place, box, settings)), 0o600)
        if place.address not in set(self._runtime.allowed()):  # else jobs run with what people allowed them
            try:
                self._runtime.allow(place.address, allow_file(box.domains))
            except ValueError as e:
                raise BoxFailed(str(e)) from e
        try:
            await selftest.prove(self, box.project, (settings.proxy_port, settings.model_port))
        except BoxFailed as e:
            self._shut(place)
            raise BoxFailed(f"{e}{host.mend() if 'bwrap' in str(e) else ''}") from e

    def _wrapping(self, place: Place, box: Box, settings: Settings) -> sandbox.Wrapping:
        return sandbox.Wrapping(
            project=place.project,
            workspace=place.workspace,
            claude=place.claude,
            made=place.made,
            cli=self._claude,
            readonly_paths=(*self._readonly_paths, *box.readonly_paths),
            limits=box.limits,
            uid=place.uid,
            cgroup=cgroup.make(self._group, place.project, box.limits),
            address=place.address,
            proxy_port=settings.proxy_port,
            model_port=settings.model_port,
        )

    async def _look(self) -> sandbox.Host:
        if self._host is None:
            self._host = await host.look(self._bwrap)
        return self._host

    # stopping

    async def _stop(self, project: str) -> None:
        if (place := self._boxes.get(project)) is None:
            return
        self._proven.pop(project, None)
        for process in list(self._commands.pop(project, ())):
            await process.end()
        if place.wrap.exists():
            await stop_all(Boxrun(self, project))
        self._shut(place)
        self._set(project, BoxState.STOPPED)

    def _shut(self, place: Place) -> None:
        """Let nothing out of the box any more."""
        for name in list(self._runtime.allowed()):
            if name == place.address or name.startswith(f"{place.address}."):
                self._runtime.forget(name)

    async def _has_jobs(self) -> bool:
        """Whether a job runs in any box that is up."""
        up = [place.project for place in self._boxes if self._status[place.project].state is BoxState.RUNNING]
        return await any_runs([Boxrun(self, project) for project in up])

    def _place(self, project: str) -> Place:
        if (place := self._boxes.get(project)) is None or not place.wrap.exists():
            raise BoxFailed(f"{project} has no box yet: start it first.")
        return place

    def _denial(self, line: bytes) -> Denial | None:
        return denial(line, self._boxes.projects(), self._egress.model_port)

    def _set(self, project: str, state: BoxState, reason: str = "") -> None:
        self._status[project] = BoxStatus(project, state, reason)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
