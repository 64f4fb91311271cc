"""squid in words: what it is told, what its log says, and what its policy answers."""

from __future__ import annotations

import os
import socket
import subprocess
from importlib.resources import files
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from boxing import KEY, Key
from hypothesis import given
from hypothesis import strategies as st

from executor.backend import Denial
from executor.squid import (
    ModelApi,
    Settings,
    allow_file,
    box_address,
    configuration,
    denial,
    hosts_file,
    inwards,
    pattern,
)

POLICY = Path(str(files("claudebox").joinpath("squid/policy.sh")))
LINE = (
    b'{"t":"1.000","port":"21001","client":"%s","method":"CONNECT","host":"%s","to":"%s","status":"%s","result":"%s"}'
)


def settings(**more: object) -> Settings:
    model = ModelApi("https://api.example.org", Key())
    return Settings("/run/x", 21001, 21002, **{"model": model, **more})  # type: ignore[arg-type]


def line(client: bytes = b"127.64.1.7", host: bytes = b"a.example.org", to: bytes = b"443") -> bytes:
    return LINE % (client, host, to, b"403", b"TCP_DENIED")


def rules(text: str) -> list[str]:
    return [rule.removeprefix("http_access ") for rule in text.splitlines() if rule.startswith("http_access ")]


def test_addresses_are_refused_before_the_policy_is_asked_and_names_resolved_only_after() -> None:
    order = rules(configuration(settings()))
    assert order.index("deny ip_literal") < order.index("deny !listed") < order.index("deny inwards")
    assert order.index("deny inwards") < order.index("allow box")
    assert order[-1] == "deny all"


def test_key_is_added_on_the_model_port_alone_and_percent_signs_stay() -> None:
    class Odd:
        def get_secret_value(self) -> str:
            return "a%41b"

    text = configuration(settings(model=ModelApi("https://api.example.org", Odd())))
    assert [row for row in text.splitlines() if "a%" in row] == ['request_header_add X-Api-Key "a%%41b" model_port']


def test_token_of_an_account_goes_into_the_authorization_header() -> None:
    text = configuration(settings(model=ModelApi("https://api.example.org", Key(), "oauth")))
    assert f'request_header_add Authorization "Bearer {KEY}" model_port' in text


def test_without_a_key_none_is_added() -> None:
    assert "request_header_add" not in configuration(settings(model=ModelApi("http://127.0.0.1:8000")))


@pytest.mark.parametrize("key", ["two\nlines", 'quo"te', "back\\slash", "", " edge "])
def test_key_that_could_end_its_line_is_refused_and_not_shown(key: str) -> None:
    class Bad:
        def get_secret_value(self) -> str:
            return key

    with pytest.raises(ValueError, match="no HTTP header can carry") as told:
        configuration(settings(model=ModelApi("https://api.example.org", Bad())))
    assert not key.strip() or key not in str(told.value)


def test_https_is_checked_and_http_is_not_encrypted() -> None:
    assert " tls tls-options=NO_SSLv3,NO_TLSv1,NO_TLSv1_1\n" in configuration(settings())
    assert (
        " tls"
        not in configuration(settings(model=ModelApi("http://127.0.0.1:8000"))).split("cache_peer ")[1].split("\n")[0]
    )


@pytest.mark.parametrize("url", ["ftp://a.example", "https://a.example/base", "https://a.example?x=1", "a.example"])
def test_url_that_squid_could_not_serve_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL must be"):
        configuration(settings(model=ModelApi(url)))


def test_path_with_a_blank_is_refused() -> None:
    with pytest.raises(ValueError, match="blanks"):
        configuration(Settings("/run/a b", 1, 2, ModelApi("http://127.0.0.1:8000")))


@pytest.mark.parametrize(
    "address",
    (
        *("127.0.0.1", "10.1.1.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("::1", "::", "fe80::1", "fd00::1", "64:ff9b::a00:1", "224.0.0.1", "255.255.255.255", "2002:a00:1::"),
    ),
)
def test_no_name_may_lead_inwards(address: str) -> None:
    assert any(ip_address(address) in ip_network(network) for network in inwards(()))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "172.32.0.1", "2606:2800:220:1::1"])
def test_public_addresses_are_not_inwards(address: str) -> None:
    assert not any(ip_address(address) in ip_network(network) for network in inwards(()))


def test_allowed_private_network_is_cut_out_exactly() -> None:
    left = [ip_network(network) for network in inwards(("10.2.0.0/16",))]
    assert not any(ip_address("10.2.3.4") in network for network in left)
    assert any(ip_address("10.1.255.255") in network for network in left)
    assert any(ip_address("10.3.0.0") in network for network in left)


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_cutting_out_a_network_opens_nothing_else(address: object, length: int) -> None:
    hole = ip_network(f"{address}/{length}", strict=False)
    before, after = inwards(()), [ip_network(network) for network in inwards((str(hole),))]
    for network in map(ip_network, before):
        for edge in (network[0], network[-1]):
            assert any(edge in rest for rest in after) != (edge in hole)


@pytest.mark.parametrize(
    "text", ["example.org", ".example.org", "example.org:8443", ".a.example.org:1", "localhost", "x_y.org"]
)
def test_domain_is_taken_as_written(text: str) -> None:
    assert pattern(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    (
        *(
            "",
            ".",
            "*.example.org",
            "https://example.org",
            "example.org/x",
            "a b",
            "example.org:0",
            "example.org:70000",
        ),
        *("127.0.0.1", "10.1", "2130706433", "0x7f000001", "[::1]", "::1", "a..b", "-a.org", "example.org.", "a\nb"),
        "x" * 300,
    ),
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write example\.org|give the host a name"):
        pattern(text)


def test_allow_file_has_a_line_for_each_domain_once() -> None:
    assert allow_file(["b.org", "A.org:1", "b.org"]) == "b.org\na.org:1\n"


def test_hosts_file_puts_the_address_first() -> None:
    assert hosts_file({"a.org": "10.0.0.1", "b.org": "::1"}) == "10.0.0.1 a.org\n::1 b.org\n"


@pytest.mark.parametrize(("number", "address"), [(1, "127.64.1"), (256, "127.65.0"), (16383, "127.127.255")])
def test_every_box_dials_from_a_net_of_its_own(number: int, address: str) -> None:
    assert box_address(number) == address
    with pytest.raises(ValueError, match="no box"):
        box_address(16384)


def test_denial_names_project_slot_host_and_port() -> None:
    found = denial(line(b"127.65.0.9", b"x%2Dy.org", b"8443"), {256: "far"}, 21002)
    assert found == Denial("far", 9, "x-y.org", 8443)


@pytest.mark.parametrize(
    "entry",
    [
        line(b"127.64.1.255"),  # the self-test
        line(b"127.64.2.7"),  # no box of ours
        line(b"127.0.0.1"),
        line(b"-", b"-"),
        line(host=b"-"),
        line().replace(b"TCP_DENIED", b"TCP_TUNNEL"),
        line().replace(b'"403"', b'"0"'),  # a probe that said nothing
        line().replace(b'"21001"', b'"21002"'),  # the model port
        line()[:40],
        b"",
        b"[]",
        b'"x"',
    ],
)
def test_other_lines_are_no_denials(entry: bytes) -> None:
    assert denial(entry, {1: "demo"}, 21002) is None


@given(st.binary(max_size=300))
def test_no_line_breaks_the_reader(entry: bytes) -> None:
    assert denial(entry, {1: "demo"}, 21002) is None


# the policy, asked as squid asks it


def ask(tmp_path: Path, *questions: str) -> list[str]:
    for name, text in {
        "127.64.1": "exact.org\n.below.org\nport.org:8443\n.deep.org:22\n",
        "127.64.1.7": "slot.org\n",
        "127.64.3": "",
    }.items():
        (tmp_path / name).write_text(text)
    asked = "".join(f"{n} {question}\n" for n, question in enumerate(questions))
    said = subprocess.run(
        ["sh", str(POLICY), str(tmp_path), "21002"], input=asked, capture_output=True, text=True, check=True, timeout=20
    )
    assert said.stderr == ""
    answers = [answer.split() for answer in said.stdout.splitlines()]
    assert [answer[0] for answer in answers] == [str(n) for n in range(len(questions))]
    return [answer[1] for answer in answers]


@pytest.mark.parametrize(
    "question",
    [
        "127.64.1.5 exact.org 443 CONNECT 21001",
        "127.64.1.5 exact.org 80 GET 21001",
        "127.64.1.5 exact.org 443 GET 21001",
        "127.64.1.5 below.org 443 CONNECT 21001",
        "127.64.1.5 a.b.below.org 443 CONNECT 21001",
        "127.64.1.5 port.org 8443 CONNECT 21001",
        "127.64.1.5 x.deep.org 22 CONNECT 21001",
        "127.64.1.7 slot.org 443 CONNECT 21001",
        "127.64.1.7 exact.org 443 CONNECT 21001",
        "127.64.1.5 api.example.org 80 POST 21002",
        "127.64.3.1 api.example.org 80 POST 21002",
    ],
)
def test_policy_allows_what_is_listed(tmp_path: Path, question: str) -> None:
    assert ask(tmp_path, question) == ["OK"]


@pytest.mark.parametrize(
    "question",
    [
        "127.64.1.5 exact.org 80 CONNECT 21001",
        "127.64.1.5 exact.org 22 CONNECT 21001",
        "127.64.1.5 exact.org 8080 GET 21001",
        "127.64.1.5 a.exact.org 443 CONNECT 21001",
        "127.64.1.5 notbelow.org 443 CONNECT 21001",
        "127.64.1.5 xexact.org 443 CONNECT 21001",
        "127.64.1.5 exact.org.evil.org 443 CONNECT 21001",
        "127.64.1.5 port.org 443 CONNECT 21001",
        "127.64.1.5 slot.org 443 CONNECT 21001",
        "127.64.2.5 exact.org 443 CONNECT 21001",
        "127.64.2.5 api.example.org 80 POST 21002",
        "127.64.3.5 exact.org 443 CONNECT 21001",
        "127.64.1.5 * 443 CONNECT 21001",
        "127.64.1.5 *.org 443 CONNECT 21001",
        "../127.64.1.5 exact.org 443 CONNECT 21001",
        "- exact.org 443 CONNECT 21001",
        "127.64.1.5",
        "",
    ],
)
def test_policy_refuses_everything_else(tmp_path: Path, question: str) -> None:
    assert ask(tmp_path, question) == ["ERR"]


@pytest.mark.parametrize(("owner", "answer"), [(os.geteuid(), "OK"), (os.geteuid() + 1, "ERR")])
def test_model_is_served_to_the_connections_of_one_user(tmp_path: Path, owner: int, answer: str) -> None:
    (tmp_path / "127.64.1").touch()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as bridge:
        bridge.bind(("127.64.1.7", 0))
        bridge.connect(listening.getsockname())
        port = bridge.getsockname()[1]
        question = f"0 127.64.1.7 api.example.org 80 POST 21002 {port}\n1 127.64.1.7 x 80 POST 21002 {port + 1}\n"
        argv = ["sh", str(POLICY), str(tmp_path), "21002", str(owner)]
        said = subprocess.run(argv, input=question, capture_output=True, text=True, check=True, timeout=20)
    assert said.stdout == f"0 {answer}\n1 ERR\n"


def test_policy_counts_a_change_from_the_next_question_on(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["sh", str(POLICY), str(tmp_path), "21002"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as policy:
        assert policy.stdin
        assert policy.stdout
        answers = []
        for domain in ("other.org", "new.org", "other.org"):
            (tmp_path / "127.64.1").write_text(f"{domain}\n")
            policy.stdin.write("0 127.64.1.5 new.org 443 CONNECT 21001\n")
            policy.stdin.flush()
            answers.append(policy.stdout.readline())
        policy.stdin.close()
    assert answers == ["0 ERR\n", "0 OK\n", "0 ERR\n"]
