"""The system-call filter of the sandbox: what namespaces do not fence off, such as AF_VSOCK, io_uring and key rings."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _ABOVE, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, (16, 24, 32)
_NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6; AF_NETLINK is looked at closer; AF_VSOCK leads out past any network namespace."""
_NETLINK, _NETLINK_PROTOCOLS = 16, (0, 4)
"""NETLINK_ROUTE and NETLINK_SOCK_DIAG: what `ip` and `ss` speak."""
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put words into the mouth of whoever sits at the terminal."""

_NEW_MOUNTS = (428, 429, 430, 431, 432, 433, 442)  # open_tree … fspick, mount_setattr: the same number everywhere
_IO_URING = (425, 426, 427)  # makes sockets that no filter sees


@dataclass(frozen=True, slots=True)
class _Calls:
    """One processor's numbers."""

    arch: int
    socket: int
    clone: int
    ioctl: int
    unshare: int
    refused: tuple[int, ...]
    """keyctl add_key request_key, mount umount2 pivot_root setns, bpf perf_event_open userfaultfd, open_by_handle_at,
    syslog acct swapon swapoff reboot, init_module delete_module finit_module, kexec_load kexec_file_load, quotactl."""
    x32: bool = False


_GENERIC = (219, 217, 218, 40, 39, 41, 268, 280, 241, 282, 265, 116, 89, 224, 225, 142, 105, 106, 273, 104, 294, 60)
_X86 = (250, 248, 249, 165, 166, 155, 308, 321, 298, 323, 304, 103, 163, 167, 168, 169, 175, 176, 313, 246, 320, 179)
_CALLS = {
    "x86_64": _Calls(0xC000003E, 41, 56, 16, 272, _X86, x32=True),
    "aarch64": _Calls(0xC00000B7, 198, 220, 29, 97, _GENERIC),
    "riscv64": _Calls(0xC00000F3, 198, 220, 29, 97, _GENERIC),
}


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _when(call: int, body: bytes) -> bytes:
    """Run the body, which always returns, for one call."""
    return _step(_EQUAL, call, 0, len(body) // 8) + body


def _unless(values: tuple[int, ...], body: bytes) -> bytes:
    """Return allowed for these values of what is loaded, else run the body."""
    return b"".join(_step(_EQUAL, value, 0, 1) + _step(_RETURN, _ALLOW) for value in values) + body


def _flags(argument: int) -> bytes:
    """Refuse flags that make a namespace."""
    look = _step(_LOAD, _ARGUMENT[argument]) + _step(_AND, _NAMESPACES)
    return look + _step(_EQUAL, 0, 0, 1) + _step(_RETURN, _ALLOW) + _refuse(errno.EPERM)


def _families() -> bytes:
    """Refuse sockets of any family but those named above."""
    protocols = _step(_LOAD, _ARGUMENT[2]) + _unless(_NETLINK_PROTOCOLS, _refuse(errno.EPROTONOSUPPORT))
    netlink = _when(_NETLINK, protocols)
    return _step(_LOAD, _ARGUMENT[0]) + _unless(_FAMILIES, netlink + _refuse(errno.EAFNOSUPPORT))


def machines() -> tuple[str, ...]:
    """The processors there is a filter for."""
    return tuple(_CALLS)


def program(machine: str) -> bytes:
    """The filter as `bwrap --seccomp` reads it.

    Raises KeyError for a processor without one.
    """
    calls = _CALLS[machine]
    words = b"".join(_step(_EQUAL, request, 0, 1) + _refuse(errno.EPERM) for request in _TERMINAL_INPUT)
    parts = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, calls.arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_ABOVE, 0x40000000, 0, 1) + _refuse(errno.ENOSYS) if calls.x32 else b"",
        _when(435, _refuse(errno.ENOSYS)),  # clone3 hides its flags in memory; libc falls back to clone
        *(_when(call, _refuse(errno.EPERM)) for call in (*_IO_URING, *_NEW_MOUNTS, *calls.refused)),
        _when(calls.socket, _families()),
        _when(calls.clone, _flags(0)),
        _when(calls.unshare, _flags(0)),
        _when(calls.ioctl, _step(_LOAD, _ARGUMENT[1]) + words + _step(_RETURN, _ALLOW)),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(parts)
