"""Hosts of URLs, in the one spelling in which they are compared, resolved and sent."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

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
        raise _unusable(text, f"cannot be encoded by IDNA: {_brief(error)}") from error
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
        except InvalidInput as error:
            raise _bad_entry(entry, error.message) from error
        if port is None:
            raise _bad_entry(entry, "it has no port")
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


def _brief(error: UnicodeError) -> str:
    return repr(str(error))[1:-1][:120]


def _unusable(text: str, why: str) -> InvalidInput:
    hint = "a DNS name, an IPv4 address a.b.c.d, or an IPv6 address in brackets"
    return InvalidInput(f"the host {text[:100]!r} {why}", hint=hint)


def _bad_entry(entry: str, why: str) -> ConfigError:
    return ConfigError(
        f"RAG_AUDIO_SERVE_WEBHOOK_HOSTS: {entry[:100]!r} cannot be used: {why}",
        hint="host:port, comma separated: hooks.example:443,127.0.0.1:8080,[::1]:8080",
    )
