"""What single values of the configuration may be: sizes, names, domains, networks, actors, paths, secrets."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from bot.config_errors import nearest, refused, shown

SURFACES = ("discord", "key", "local", "slack")
_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_LEAST_MEMORY = 512 * _UNITS["MiB"]
_SIZE = re.compile(r"([1-9][0-9]{0,5})\s?([KMGT]iB)")
_METADATA = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")))
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"\.?{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")
_ACTOR = re.compile(r"\*|([a-z]+):\S{1,200}")
_SCP_URL = re.compile(r"(?!-)(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]+:(?!//)[^\s:-]\S*")
_WEB_URL = re.compile(r"(?:https|ssh)://(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+(?::[0-9]{1,5})?/\S+")
_BRANCH = re.compile(r"(?![-/.])(?!.*(?:\.\.|//|@\{|\.lock$))[^\s~^:?*\[\\\x00-\x20\x7f]{0,200}(?<![/.])")

T = TypeVar("T")
List = Annotated[tuple[T, ...], Field(strict=False)]
"""A TOML list, kept as a tuple."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file's relative paths, `~` and named variables mean."""

    directory: Path
    environ: Mapping[str, str]

    def path(self, text: str) -> Path:
        """The absolute path that the text stands for."""
        home = self.environ.get("HOME", "")
        if home and (text == "~" or text.startswith("~/")):
            text = home + text[1:]
        return self.directory / text


def surroundings(info: ValidationInfo) -> Surroundings | None:
    """What `load` knows of the machine; None for a model made in code, whose paths are taken as they are."""
    return info.context if isinstance(info.context, Surroundings) else None


def is_ssh(url: str) -> bool:
    """Whether git reaches this remote over ssh."""
    return url.startswith("ssh://") or (not url.startswith(("/", "https://")) and bool(_SCP_URL.fullmatch(url)))


def is_local(url: str) -> bool:
    """Whether the remote is a directory of this machine."""
    return url.startswith("/")


def _size(value: Any, info: ValidationInfo) -> int:
    if type(value) is int and surroundings(info) is None:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refused(shown(value), 'a size such as "512MiB" or "4GiB" (KiB, MiB, GiB or TiB, in quotes)')
    return int(match[1]) * _UNITS[match[2]]


def _domain(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    rule = '"example.org", ".example.org" for everything below it too, or "example.org:8443"'
    near = ""
    if text.startswith("*."):
        near = text[1:]
    elif "://" in text:
        near = text.split("://", 1)[1].split("/", 1)[0]
    host, _, port = text.partition(":")
    if "://" not in text and (is_address(host) or is_address(text)):
        raise refused(shown(value), f"a name, never an address: {rule}")
    if not _DOMAIN.fullmatch(text) or (port and not 0 < int(port) < 65536):
        raise refused(shown(value), rule, near)
    return text


def is_address(text: str) -> bool:
    """Whether a host is written as an IP address, in any of the notations that resolvers accept."""
    # Resolvers read a name whose last part is a number, also 0x7f, as an IPv4 address.
    return bool(re.search(r"(?:^|\.)(?:0x[0-9a-f]*|[0-9]+)$", text)) or text.count(":") > 1


def _network(value: Any) -> str:
    network = _as_network(value, strict=True)
    if network is None:
        near = _as_network(value, strict=False)
        raise refused(shown(value), 'a network such as "10.20.0.0/16" or "fd12:3456::/32"', str(near or ""))
    for metadata in _METADATA:
        if network.version == metadata.version and network.overlaps(metadata):
            raise refused(shown(value), f"no network that meets {metadata}, where clouds serve credentials")
    return str(network)


def _as_network(value: Any, *, strict: bool) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value, strict=strict) if isinstance(value, str) else None
    except ValueError:
        return None


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise refused(shown(value), 'an IP address such as "10.20.0.7"') from None


def _actor(value: Any) -> str:
    match = _ACTOR.fullmatch(value) if isinstance(value, str) else None
    rule = '"discord:123456", "slack:T1/U2", "key:ci", "local:1000", a pattern such as "slack:T1/*", or "*" for all'
    if match is None:
        raise refused(shown(value), rule)
    if match[1] is not None and match[1] not in SURFACES:
        raise refused(shown(value), rule, nearest(match[1], SURFACES))
    return str(value)


def _memory(value: int) -> int:
    if value < _LEAST_MEMORY:
        raise refused(f"{value // _UNITS['MiB']}MiB", "at least 512MiB: one Claude process takes up to 1.2 GB")
    return value


def _path(value: Any, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise refused(shown(value), "a path in quotes")
    around = surroundings(info)
    return around.path(value) if around else Path(value)


def _existing_path(value: Any, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if surroundings(info) and not path.exists():
        raise refused(f'"{path}", which does not exist', "a path of this machine")
    return path


def _state_dir(value: Any, info: ValidationInfo) -> Path:
    around = surroundings(info)
    if value is None and around is not None:
        return default_state_dir(around.environ)
    return _path(value, info)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where the service keeps its state when nothing else is said."""
    if os.geteuid() == 0:
        return Path("/var/lib/rdev")
    base = Path(environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path(environ.get("HOME", "/")) / ".local/state") / "rdev"


def _url(value: Any, info: ValidationInfo) -> str:
    rule = '"https://host/path", "ssh://git@host/path", "git@host:path", or the path of a repository on this machine'
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text or text.startswith("-") or "\0" in text:
        raise refused(shown(value), rule)
    if re.match(r"[a-z+]+://[^/]*:[^/]*@", text):
        raise refused("a URL with a password in it (not shown)", f"{rule}; a deploy_key opens a private one")
    if _WEB_URL.fullmatch(text) or is_ssh(text):
        return text
    if "::" in text or "://" in text:
        raise refused(shown(value), rule)
    around = surroundings(info)
    path = around.path(text) if around else Path(text)
    if around and not path.is_dir():
        raise refused(f'"{path}", where there is no directory', rule)
    return str(path)


def _branch(value: Any) -> str:
    if not isinstance(value, str) or not _BRANCH.fullmatch(value):
        raise refused(shown(value), 'a branch name such as "main", or "" for the remote\'s own')
    return value


def matching(pattern: str, rule: str) -> BeforeValidator:
    """Accept text of that pattern, described to people by the rule."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise refused(shown(value), rule)
        return value

    return BeforeValidator(check, json_schema_input_type=Annotated[str, Field(pattern=f"^{pattern}$")])


_TEXT = WithJsonSchema({"type": "string"})
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$"})]
Memory = Annotated[Size, AfterValidator(_memory)]
BranchPattern = Annotated[str, matching(r"[^-\s]\S{0,199}", 'a branch or a pattern such as "release*"')]
Domain = Annotated[str, BeforeValidator(_domain), _TEXT]
Network = Annotated[str, BeforeValidator(_network), _TEXT]
Address = Annotated[str, BeforeValidator(_address), _TEXT]
ActorPattern = Annotated[str, BeforeValidator(_actor), _TEXT]
FilePath = Annotated[Path, BeforeValidator(_path), _TEXT]
StateDir = Annotated[Path, BeforeValidator(_state_dir), _TEXT]
RemoteUrl = Annotated[str, BeforeValidator(_url), _TEXT]
Branch = Annotated[str, BeforeValidator(_branch), _TEXT]
Words = Annotated[str, matching(r"([^-\s]\S{0,199})?", "one word")]
ApiUrl = Annotated[
    str,
    matching(
        r"(https://[A-Za-z0-9.-]+|http://(127(\.[0-9]{1,3}){3}|localhost))(:[0-9]{1,5})?/?",
        'an https URL without a path, as "https://api.anthropic.com"; http only for this machine itself',
    ),
]
Variable = Annotated[str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]
Program = Annotated[str, matching(r"[^-\0\s][^\0]*", "a program's name or path")]
ProjectId = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9-]{0,38}",
        "an id of at most 39 lower-case letters, digits and dashes, not beginning with a dash",
    ),
]
ExistingPath = Annotated[Path, BeforeValidator(_existing_path), _TEXT]
