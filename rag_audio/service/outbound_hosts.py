"""Hosts that webhooks may call: one spelling, resolved once, no private address (no SSRF)."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from urllib.parse import quote

import idna

from rag_audio.errors import ConfigError, InvalidInput

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?", re.ASCII)
_MOST = 253
"""Characters of a name in the DNS (RFC 1035, 2.3.4), without the last dot."""


def ascii_host(text: str) -> str:
    """A host in lower case ASCII: IDNA 2008 with the mapping of UTS 46, non-transitional.

    Args:
        text: a name, with or without the root's dot, an IPv4 address of four decimal numbers, or
            an IPv6 address in brackets.

    Returns:
        The name without the root's dot, or the address; IPv6 in brackets, compressed.

    Raises:
        InvalidInput: it is none of these; other spellings of numbers (``127.1``, ``0x7f000001``,
            ``2130706433``), which resolvers read as addresses, are none either.
    """
    if text.startswith("["):
        return f"[{_ipv6(text)}]"
    try:
        name = text if text.isascii() else idna.encode(text, uts46=True, std3_rules=True).decode()
    except UnicodeError as error:  # idna's own errors are of this family
        raise _unusable(
            text, f"cannot be encoded by IDNA: {repr(str(error))[1:-1][:120]}"
        ) from error
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > _MOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise _unusable(text, "is not a name in the DNS")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except AddressValueError as error:
            raise _unusable(text, "is neither a name nor an IPv4 address a.b.c.d") from error
    return name


def host_and_port(authority: str) -> tuple[str, int | None]:
    """The host, as :func:`ascii_host`, and the port of ``host:port``; None where it has none.

    Raises:
        InvalidInput: it is malformed, has a user, or a port outside 1 to 65535.
    """
    if "@" in authority:
        raise InvalidInput("a URL with a user or password is not called", hint="leave them out")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _unusable(authority, "is not host or host:port")
    host, port = ascii_host(parts[1]), int(parts[2]) if parts[2] else None
    if port is not None and not 1 <= port <= 65535:
        raise _unusable(authority, f"has the port {port}; 1 to 65535")
    return host, port


def listed_hosts(setting: str) -> frozenset[str]:
    """The entries ``host:port`` of a comma separated setting, normalized as their URLs will be.

    Raises:
        ConfigError: an entry is malformed or has no port.
    """
    found = set()
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        try:
            host, port = host_and_port(entry)
            if port is None:
                raise InvalidInput("it has no port")
        except InvalidInput as error:
            said = f"{entry[:100]!r} cannot be used: {error.message}"
            raise ConfigError(
                f"RAG_AUDIO_SERVE_WEBHOOK_HOSTS: {said}",
                hint="host:port, comma separated: hooks.example:443,127.0.0.1:8080,[::1]:8080",
            ) from error
        found.add(f"{host}:{port}")
    return frozenset(found)


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text.removeprefix("[").removesuffix("]"))
    except AddressValueError as error:
        raise _unusable(text, "is not an IPv6 address") from error
    if address.scope_id is not None:
        raise _unusable(text, "names a zone, which means something on this machine alone")
    return str(address)


def _unusable(text: str, why: str) -> InvalidInput:
    hint = "a DNS name, an IPv4 address a.b.c.d, or an IPv6 address in brackets"
    return InvalidInput(f"the host {text[:100]!r} {why}", hint=hint)


# Which IP addresses may be called, by what they can reach.
#
# ``ipaddress.is_global`` follows IANA's registries of special purposes, which say how an address
# is routed. That is not enough: a translator or tunnel in the path turns a global IPv6 address
# into an IPv4 packet, to whatever address it embeds. Such an address is refused whatever it
# embeds: a host that has a public IPv4 address can be named by it.
#
# Network-specific NAT64 prefixes (RFC 6052, section 2.2) are any operator's choice and look like
# every other address: nothing here can know them. A network that has one must filter there.

IPV4_REFUSED = (
    *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "100.64.0.0/10",  # shared by carriers (RFC 6598)
    "168.63.129.16/32",  # services of the host, in Azure
    "169.254.0.0/16",  # link-local (RFC 3927)
    "192.0.0.0/24",  # protocol assignments (RFC 6890)
    *("192.31.196.0/24", "192.175.48.0/24"),  # AS112 (RFC 7535, RFC 7534)
    *("192.52.193.0/24", "192.88.99.0/24"),  # AMT relays (RFC 7450), 6to4 relays (RFC 7526)
    "198.18.0.0/15",  # benchmarks (RFC 2544)
    *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),  # documentation (RFC 5737)
    *("224.0.0.0/4", "240.0.0.0/4"),  # multicast, reserved, broadcast (RFC 5771, RFC 1112)
)
"""Networks that are never called."""

IPV6_UNICAST = "2000::/3"
"""All that IANA has assigned as global unicast; what lies outside is refused."""

IPV6_REFUSED = (
    "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks, AMT (RFC 2928)
    *("2001:db8::/32", "3fff::/20"),  # documentation (RFC 3849, RFC 9637)
    "2002::/16",  # 6to4 (RFC 3056): embeds an IPv4 address
    "2620:4f:8000::/48",  # AS112 (RFC 7534)
    "3ffe::/16",  # 6bone, returned (RFC 3701)
)
"""Networks within :data:`IPV6_UNICAST` that are never called."""

_ISATAP = {0x0000_5EFE, 0x0200_5EFE}
"""Upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214, 6.1)."""

_V4 = [IPv4Network(net) for net in IPV4_REFUSED]
_V6 = [IPv6Network(net) for net in IPV6_REFUSED]
_UNICAST = IPv6Network(IPV6_UNICAST)


def is_public(address: str) -> bool:
    """Whether an address may be called: it is global unicast, and embeds no IPv4 address.

    Args:
        address: as ``getaddrinfo`` spells it, IPv6 without brackets. One with a zone
            (``fe80::1%eth0``), or that is no address at all, is refused.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return found.is_global and not any(found in net for net in _V4)
    is_isatap = (int(found) >> 32) & 0xFFFF_FFFF in _ISATAP
    is_refused = found.scope_id is not None or is_isatap or any(found in net for net in _V6)
    return found.is_global and found in _UNICAST and not is_refused


# What a webhook's URL means: whom it may reach, and at which addresses.


PORT = 443
"""Of every host that is not listed."""
_DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_KEPT = "!$%&'()*+,-./:;=?@[]_~"
"""Characters that a path and query keep; others, non-ASCII ones as UTF-8, are percent-encoded."""


@dataclass(frozen=True)
class Target:
    """A URL that may be called.

    Attributes:
        scheme: ``https``; ``http`` only of listed hosts.
        host: ASCII, lower case; IPv6 in brackets.
        path: with the query, ASCII; begins with ``/``.
        listed: the operator lists it: it may be private.
    """

    scheme: str
    host: str
    port: int
    path: str
    listed: bool

    @property
    def authority(self) -> str:
        """The value of ``Host``."""
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return self.host if default else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in ASCII, without a fragment."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def server_name(self) -> str:
        """The host as TLS and the resolver want it: without brackets."""
        return self.host.strip("[]")


def target_of(url: str, listed: frozenset[str]) -> Target:
    """Read a webhook's URL; nothing is resolved.

    Args:
        listed: ``host:port``, from :func:`listed_hosts`: these may be
            private, have no TLS, and another port than 443.

    Raises:
        InvalidInput: it is malformed, has no TLS, or a port that nobody may call.
    """
    if any(not one.isprintable() or one in " \\" or one.isspace() for one in url):
        raise InvalidInput("the webhook has a space, backslash or control character")
    parts = _URL.fullmatch(url)
    if parts is None or not parts[2]:
        raise InvalidInput("the webhook is not an https URL", hint="https://host/path")
    scheme, authority, rest = parts[1].lower(), parts[2], parts[3]
    host, given = host_and_port(authority)
    port = _DEFAULT_PORTS[scheme] if given is None else given
    is_listed = f"{host}:{port}" in listed
    if scheme != "https" and not is_listed:
        raise InvalidInput("the webhook has no TLS", hint="use https")
    if port != PORT and not is_listed:
        raise InvalidInput(
            f"the webhook has the port {port}: only {PORT} is called",
            hint="the operator of this service can list others in RAG_AUDIO_SERVE_WEBHOOK_HOSTS",
        )
    path = quote(rest if rest.startswith("/") else f"/{rest}", safe=_KEPT)
    return Target(scheme, host, port, path, is_listed)


def is_address(target: Target) -> bool:
    """Whether the host is an address itself: there is nothing to look up."""
    return target.host.startswith("[") or target.host.rpartition(".")[2].isdecimal()


def addresses_of(target: Target, timeout_s: float) -> tuple[str, ...]:
    """The addresses that a target has at this moment, in the resolver's order, none twice.

    Args:
        timeout_s: longest time for a name to be resolved.

    Raises:
        InvalidInput: as :func:`require_public`; also where the name is not resolved in time.
    """
    try:
        found = look_up(target).result(max(0.0, timeout_s))
    except TimeoutError:
        found = ()
    return require_public(target, found)


def require_public(target: Target, found: tuple[str, ...]) -> tuple[str, ...]:
    """Let the addresses that a target has be called: these addresses.

    Raises:
        InvalidInput: there is none, or any of them must not be called: an answer that mixes public
            and private addresses is an attempt to get past this check.
    """
    if not found or (not target.listed and not all(is_public(one) for one in found)):
        # The same words for both: whoever asks could otherwise list the names of our network.
        raise InvalidInput(
            f"the webhook's host {target.host} has no public address",
            hint="all addresses that it resolves to must be public",
        )
    return found


def look_up(target: Target) -> Future[tuple[str, ...]]:
    """Ask the resolver, in a thread of its own: it takes no deadline and cannot be interrupted.

    Returns:
        The addresses, in the resolver's order, none twice; empty: there is no such name. It cannot
        be cancelled; whoever does not wait for it leaves the thread behind.
    """
    found: Future[tuple[str, ...]] = Future()
    found.set_running_or_notify_cancel()

    def resolve() -> None:
        addresses: tuple[str, ...] = ()
        try:
            rows = socket.getaddrinfo(target.server_name, target.port, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(one[4][0]) for one in rows))
        except (OSError, UnicodeError):
            pass
        finally:
            found.set_result(addresses)

    threading.Thread(target=resolve, name="resolving", daemon=True).start()
    return found
