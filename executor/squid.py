"""squid in words: its configuration from what may be reached, and its log read as denials; nothing here touches it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from string import Template
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from executor.backend import Denial

HIGHEST_BOX = 16383
HIGHEST_SLOT = 254
SELF_TEST_SLOT = 255
"""Where the self-test dials from; no job has it, and what it was refused is no denial."""
CLIENTS = "127.64.0.0/10"
"""Where boxes dial from: 127.(64 + box / 256).(box % 256).slot."""

INWARDS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    *("::/127", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)
"""What no public name should lead to: this machine, its neighbours, a cloud's metadata, and ways to write those."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN = re.compile(rf"(\.?{_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?")
_NUMERIC = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$")
_HEADER_VALUE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


class Secret(Protocol):
    """A text that shows itself only when asked to, such as pydantic's SecretStr."""

    def get_secret_value(self) -> str:
        """The text itself."""


@dataclass(frozen=True, slots=True)
class ModelApi:
    """The model's API behind squid: its origin, and the header with the key that squid adds."""

    url: str
    key: Secret | None = None
    auth: Literal["api-key", "oauth"] = "api-key"
    ca: str = ""
    """A file of certificates to trust beside the system's own."""

    @property
    def tls(self) -> bool:
        """Whether squid must speak TLS to it, and so check its certificate."""
        return urlsplit(self.url).scheme == "https"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that squid's configuration depends on."""

    runtime: str
    """The directory of its configuration, allow files and log; an absolute path without blanks."""
    proxy_port: int
    model_port: int
    model: ModelApi
    private_networks: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    owner: int | None = None
    """Whose connections alone are a box's, where others share the loopback."""


def configuration(settings: Settings) -> str:
    """squid.conf, with the key in it.

    Raises ValueError with a sentence where a value cannot be said to squid.
    """
    model, host, port = settings.model, *_origin(settings.model.url)
    if re.search(r"\s", settings.runtime + model.ca):
        raise ValueError(f"squid cannot use a path with blanks in it: {settings.runtime} {model.ca}".rstrip())
    # not tls-min-version: squid 5 makes a list with an empty member of it and calls that an ERROR
    tls = " tls tls-options=NO_SSLv3,NO_TLSv1,NO_TLSv1_1" + (f" tls-cafile={model.ca}" if model.ca else "")
    template = Template(files("claudebox").joinpath("squid/squid.conf").read_text(encoding="utf-8"))
    return template.substitute(
        runtime=settings.runtime,
        proxy=f"127.0.0.1:{settings.proxy_port}",
        model=f"127.0.0.1:{settings.model_port}",
        model_number=settings.model_port,
        owner="" if settings.owner is None else settings.owner,
        model_host=host,
        peer_host=host,
        peer_port=port,
        peer_tls=tls if model.tls else "",
        clients=CLIENTS,
        inwards=" ".join(inwards(settings.private_networks)),
        key=_key_header(model),
    )


def _key_header(model: ModelApi) -> str:
    """The line that adds the key, where there is one."""
    if model.key is None:
        return ""
    key = model.key.get_secret_value()
    if not _HEADER_VALUE.fullmatch(key):
        raise ValueError("The model API's key has characters that no HTTP header can carry: look for a line break.")
    header, value = ("X-Api-Key", key) if model.auth == "api-key" else ("Authorization", f"Bearer {key}")
    return f'request_header_add {header} "{value.replace("%", "%%")}" model_port'


def _origin(url: str) -> tuple[str, int]:
    """Host and port of an http or https URL that has nothing else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"The model API's URL must be http(s)://host[:port] and nothing more: {url}")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def inwards(private_networks: Iterable[str]) -> list[str]:
    """The address ranges that no name may lead to, less those that were allowed.

    Raises ValueError for what is no network.
    """
    left: list[IPv4Network | IPv6Network] = [ip_network(text) for text in INWARDS]
    for text in private_networks:
        allowed = ip_network(text, strict=False)
        left = [rest for network in left for rest in _without(network, allowed)]
    v4 = collapse_addresses(n for n in left if isinstance(n, IPv4Network))
    v6 = collapse_addresses(n for n in left if isinstance(n, IPv6Network))
    return [str(n) for n in (*v4, *v6)]


def _without(network: IPv4Network | IPv6Network, hole: IPv4Network | IPv6Network) -> list[IPv4Network | IPv6Network]:
    if isinstance(network, IPv4Network) and isinstance(hole, IPv4Network) and network.overlaps(hole):
        return [] if network.subnet_of(hole) else list(network.address_exclude(hole))
    if isinstance(network, IPv6Network) and isinstance(hole, IPv6Network) and network.overlaps(hole):
        return [] if network.subnet_of(hole) else list(network.address_exclude(hole))
    return [network]


def hosts_file(hosts: Mapping[str, str]) -> str:
    """The names squid resolves itself, as its hosts file.

    Raises ValueError for what is no name or no address.
    """
    return "".join(f"{ip_address(address)} {pattern(name)}\n" for name, address in sorted(hosts.items()))


def pattern(domain: str) -> str:
    """A domain as the allow files have it: `host`, `.host` (and below), either with `:port`.

    Raises ValueError with a sentence for anything else.
    """
    text = domain.strip().lower()
    match = _PATTERN.fullmatch(text)
    if not match or len(text) > 260 or (match[2] and not 0 < int(match[2]) < 65536):
        raise ValueError(f"{domain!r} is no domain: write example.org, .example.org (and below) or example.org:8443.")
    if _NUMERIC.search(match[1]):
        raise ValueError(f"{domain!r} is an address; squid lets nobody reach addresses: give the host a name.")
    return text


def allow_file(domains: Iterable[str]) -> str:
    """The allow file of a box or a slot.

    Raises ValueError for what is no domain.
    """
    return "".join(f"{text}\n" for text in dict.fromkeys(map(pattern, domains)))


def box_address(box: int) -> str:
    """The first three numbers of the addresses a box dials from: its allow file's name."""
    if not 0 < box <= HIGHEST_BOX:
        raise ValueError(f"{box} is no box's number")
    return f"127.{64 + box // 256}.{box % 256}"


def denial(line: bytes, projects: Mapping[int, str], model_port: int) -> Denial | None:
    """The denial that a line of squid's log tells of, if it does."""
    try:
        entry = json.loads(line)
        first, second, third, slot = map(int, entry["client"].split("."))
        host, port = unquote(entry["host"]), int(entry["to"]) if entry["to"].isdigit() else 0
        denied = entry["status"] == "403" and entry["result"].startswith("TCP_DENIED")
        at_model = entry["port"] == str(model_port)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # cut short, or not about a request at all
    project = projects.get((second - 64) * 256 + third) if first == 127 else None
    if not denied or at_model or project is None or slot == SELF_TEST_SLOT or host in ("", "-"):
        return None
    return Denial(project, slot, host.strip("[]"), port)
