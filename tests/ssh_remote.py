"""A git host on loopback that speaks real ssh and knows one deploy key."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True, slots=True)
class SshRemote:
    """Where the repository is, and what opens it."""

    url: str
    deploy_key: Path
    known_hosts: Path


@asynccontextmanager
async def ssh_remote(directory: Path, repository: Path) -> AsyncIterator[SshRemote]:
    """Serve the bare repository to whoever has the deploy key."""
    host_key, deploy_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key_file = directory / "deploy_key"
    key_file.touch(0o600)
    key_file.write_bytes(deploy_key.export_private_key("openssh"))
    authorized = asyncssh.import_authorized_keys(deploy_key.export_public_key("openssh").decode())
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized,
        process_factory=_git,
        encoding=None,
    )
    async with server:
        port = server.get_port()
        known = directory / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {host_key.export_public_key('openssh').decode()}")
        yield SshRemote(f"ssh://git@127.0.0.1:{port}{repository}", key_file, known)


async def _git(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the git service that the client asks for, as a git host does."""
    service, path = shlex.split(process.command or "")
    if service not in ("git-upload-pack", "git-receive-pack"):
        process.exit(128)
        return
    child = await asyncio.create_subprocess_exec(
        service, path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    process.exit(await child.wait())
    await process.wait_closed()
