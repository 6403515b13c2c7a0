"""Which addresses and spellings of hosts may be called."""

from __future__ import annotations

import socket
import threading
import time
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_audio.errors import ConfigError, InvalidInput
from rag_audio.service.outbound_hosts import (
    IPV4_REFUSED,
    IPV6_REFUSED,
    addresses_of,
    ascii_host,
    is_public,
    listed_hosts,
    target_of,
)
from rag_audio.service.settings import ServeSettings, read_serve_settings

PUBLIC = (
    *("93.184.215.14", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1"),
    *("192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "168.63.129.17"),
    *("2606:2800:220:1:248:1893:25c8:1946", "2001:4860:4860::8888", "2a00:1450:4001::200e"),
    *("2620:fe::fe", "2001:200::1", "2003::1", "2a00::200:5efd:1:1"),
)
REACHES_OTHERS = (
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::8.8.8.8"),
    *("2002:7f00:1::1", "2002:a00:1::", "2002:c0a8:101::1", "::127.0.0.1", "::10.0.0.1"),
    *("fec0::1", "feff::1"),
)
"""Seen to be connected to: each of them is global to ``ipaddress``, or was."""
REFUSED = (
    *("127.0.0.1", "127.255.255.255", "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.192"),
    *("192.88.99.1", "198.18.0.1", "198.19.255.255", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8"),
    *("64:ff9b:1::8.8.8.8", "64:ff9b:1:abcd::1", "100::1", "2001::1", "2001:0:4136:e378::1"),
    *("2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2a00::1%1", "ff02::1", "ff0e::1", "4000::1"),
    *("2a00::5efe:10.0.0.1", "2a00::200:5efe:8.8.8.8", "1::1", "", "localhost", "127.1", "[::1]"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_global_unicast_address_may_be_called(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*REACHES_OTHERS, *REFUSED])
def test_what_is_or_reaches_another_kind_of_address_may_not(address: str) -> None:
    assert not is_public(address)


def test_being_global_is_not_enough() -> None:
    trusted = [one for one in REACHES_OTHERS if ip_address(one).is_global]
    assert trusted, "ipaddress has learned it all: is the table still needed?"


INNER = st.one_of(
    st.sampled_from(IPV4_REFUSED).flatmap(lambda net: st.ip_addresses(v=4, network=net)),
    st.ip_addresses(v=4),
).map(lambda found: int(IPv4Address(found)))


def _isatap(inner: int, prefix: int, flag: int) -> int:
    return (0x2A00 << 112 | prefix << 64) | flag << 32 | inner


EMBEDDINGS: dict[str, Any] = {
    "mapped": lambda v4, _: 0xFFFF << 32 | v4,
    "compatible": lambda v4, _: v4,
    "translated": lambda v4, _: 0xFFFF << 48 | v4,
    "NAT64": lambda v4, _: 0x64FF9B << 96 | v4,
    "NAT64 of a network": lambda v4, more: 0x64FF9B0001 << 80 | more << 32 | v4,
    "6to4": lambda v4, more: 0x2002 << 112 | v4 << 80 | more,
    "Teredo client": lambda v4, more: 0x20010000 << 96 | more << 32 | v4 ^ 0xFFFFFFFF,
    "Teredo server": lambda v4, more: 0x20010000 << 96 | v4 << 64 | more,
    "ISATAP": lambda v4, more: _isatap(v4, more, 0x5EFE),
    "ISATAP, global": lambda v4, more: _isatap(v4, more, 0x2005EFE),
    "ISATAP, link-local": lambda v4, _: 0xFE80 << 112 | 0x5EFE << 32 | v4,
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
@given(inner=INNER, more=st.integers(0, 2**48 - 1))
@settings(max_examples=30)
def test_an_address_that_embeds_an_ipv4_address_is_refused(
    kind: str, inner: int, more: int
) -> None:
    assert not is_public(str(IPv6Address(EMBEDDINGS[kind](inner, more))))


@given(st.sampled_from(IPV6_REFUSED), st.integers(0, 2**128 - 1))
def test_every_address_of_a_refused_network_is_refused(network: str, more: int) -> None:
    net = IPv6Network(network)
    assert not is_public(str(net[more % net.num_addresses]))


@given(st.ip_addresses(v=6))
def test_outside_of_global_unicast_nothing_is_called(address: IPv6Address) -> None:
    if address not in IPv6Network("2000::/3"):
        assert not is_public(str(address))


SPELLINGS = (
    *("0x7f.1", "0x7f000001", "0X7F.0.0.1", "2130706433", "017700000001", "127.1", "127.0.1"),
    *("0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.1.1.1", "127.0.0.0x1", "a.0x7f", "1.2.3."),
    *("[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[fe80::1%25lo]", "[fe80::1%lo]"),
    *("[::1", "::1", "[127.0.0.1]", "[v1.x]", "[]", "127.0.0.1", "127.0.0.1.", "127.0.0.1.."),
    *("%31%32%37.0.0.1", "127。0。0。1", "１２７.０.０.１", "⑫⑦.0.0.1", "user@example.org"),
    *("user:word@example.org", "@example.org", "example.org\\@127.0.0.1", "exam ple.org"),
    *("exam\tple.org", "example.org\n", "\x00example.org", "example\x7f.org", "exa\u200bmple.org"),
    *("example.org\u00a0", "example..org", ".example.org", "-a.example", "a-.example", "."),
    *("☃.example", "℀.example", "a" * 64 + ".example", "ü" * 60 + ".example", "a." * 130 + "b"),
    *("\ud800.example", "example.org:0", "example.org:65536", "example.org:+443"),
    *("example.org:٤٤٣", "example.org:80", "example.org:8443", "example.org:443:443"),
    *("", ":443", "@"),
)  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_a_host_gets_past_the_check(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the resolver would read it as an address, as that of glibc does."""
    asked = []

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        return [(0, 0, 0, "", (name, 443))] if name[:1].isdigit() or ":" in name else []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(InvalidInput) as refused:
        addresses_of(target_of(f"https://{host}/hook", frozenset()), 5.0)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    assert all(name.isascii() for name in asked)


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=50)
def test_any_url_is_read_or_refused_in_one_line(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/x", f"https://example.org/{text}"):
        try:
            found = target_of(url, frozenset())
        except InvalidInput:
            continue
        assert found.url.isascii() and found.url.isprintable() and found.port == 443
        assert target_of(found.url, frozenset()) == found, "its spelling is the normal one"


@pytest.mark.parametrize(
    ("host", "ascii_"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example.", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｘａｍｐｌｅ.org", "example.org"),
        ("my_host.internal", "my_host.internal"),
        ("1.2.3.4", "1.2.3.4"),
        ("[2A00:0::0001]", "[2a00::1]"),
        ("3com.example", "3com.example"),
    ],
)
def test_a_host_has_one_spelling_in_ascii(host: str, ascii_: str) -> None:
    assert ascii_host(host) == ascii_ == ascii_host(ascii_)


def test_a_target_is_told_in_ascii() -> None:
    target = target_of("https://Bücher.example/hören?wo=%C3%BC&ß#part", frozenset())
    assert target.url == "https://xn--bcher-kva.example/h%C3%B6ren?wo=%C3%BC&%C3%9F"
    assert (target.authority, target.path[:2]) == ("xn--bcher-kva.example", "/h")
    assert target_of("https://example.org:443", frozenset()).url == "https://example.org/"
    for scheme in ("HTTPS", "Https", "hTTPs"):  # RFC 3986, 3.1: schemes have no case
        assert target_of(f"{scheme}://Example.org/A", frozenset()).url == "https://example.org/A"
    assert target_of("HTTP://a.example/", listed_hosts("a.example:80")).scheme == "http"


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("localhost:8080", "http://localhost:8080/x"),
        ("LocalHost:8080", "http://localhost.:8080/x"),
        ("Bücher.example:8443", "https://bücher.example:8443/x"),
        ("[::1]:8080", "http://[0:0:0::1]:8080/x"),
        ("hooks.example:80", "http://hooks.example/x"),
        ("a.example:1, hooks.example:443 ,", "https://hooks.example/x"),
    ],
)
def test_a_listed_host_may_be_private_and_have_another_port(listed: str, url: str) -> None:
    assert target_of(url, listed_hosts(listed)).listed


def test_a_listed_port_lists_no_other() -> None:
    listed = listed_hosts("hooks.example:8443")
    for url in (
        "https://hooks.example:8444/",
        "http://hooks.example/",
        "http://hooks.example:443/",
    ):
        with pytest.raises(InvalidInput):
            target_of(url, listed)
    assert not target_of("https://hooks.example/", listed).listed


@pytest.mark.parametrize(
    "entry",
    ["localhost", "localhost:", "localhost:0", "localhost:99999", "http://localhost:80", "::1:80",
     "[::1]", "[fe80::1%lo]:80", "a b:80", "☃.example:80", "user@host:80", "127.1:80", ":80",
     "*:80"],
)  # fmt: skip
def test_a_listed_host_that_cannot_be_used_ends_the_start(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_AUDIO_SERVE_WEBHOOK_HOSTS", f"good.example:443,{entry}")
    with pytest.raises(ConfigError, match=r"RAG_AUDIO_SERVE_WEBHOOK_HOSTS: .* cannot be used"):
        read_serve_settings()
    with pytest.raises(ConfigError):
        ServeSettings().listed_webhooks()


def _answers(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
    def look_up(host: str, port: int, **_: object) -> list[Any]:
        found = names[host.partition(".")[0]]
        return [(None, None, None, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_all_addresses_of_a_name_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    _answers(
        monkeypatch,
        public=["93.184.215.14", "2606:2800::1", "93.184.215.14"],
        private=["10.1.2.3"],
        both=["93.184.215.14", "127.0.0.1"],
        translated=["93.184.215.14", "64:ff9b::7f00:1"],
        none=[],
    )
    target = target_of("https://public.example/x", frozenset())
    assert addresses_of(target, 5.0) == ("93.184.215.14", "2606:2800::1")
    said = set()
    for name in ("private", "both", "translated", "none"):
        with pytest.raises(InvalidInput) as refused:
            addresses_of(target_of(f"https://{name}.example/x", frozenset()), 5.0)
        said.add(str(refused.value).replace(name, "NAME"))
    assert len(said) == 1, "whether an internal name exists is not told"
    listed = target_of("https://private.example/x", listed_hosts("private.example:443"))
    assert addresses_of(listed, 5.0) == ("10.1.2.3",)


def test_a_name_that_is_never_resolved_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def never(*_: object, **__: object) -> list[Any]:
        ended.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    began = time.monotonic()
    with pytest.raises(InvalidInput, match="no public address"):
        addresses_of(target_of("https://slow.example/", frozenset()), 0.1)
    ended.set()
    assert time.monotonic() - began < 15
