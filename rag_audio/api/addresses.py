"""Which IP addresses may be called, by what they can reach.

``ipaddress.is_global`` follows IANA's registries of special purposes, which say how an address is
routed. That is not enough: a translator or tunnel in the path turns a global IPv6 address into an
IPv4 packet, to whatever address it embeds. Such an address is refused whatever it embeds: a host
that has a public IPv4 address can be named by it.

Network-specific NAT64 prefixes (RFC 6052, section 2.2) are any operator's choice and look like
every other address: nothing here can know them. A network that has one must filter there.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

IPV4_REFUSED: dict[str, str] = {
    "0.0.0.0/8": "this network (RFC 791)",
    "10.0.0.0/8": "private (RFC 1918)",
    "100.64.0.0/10": "shared by carriers (RFC 6598)",
    "127.0.0.0/8": "this host (RFC 1122)",
    "168.63.129.16/32": "services of the host, in Azure",
    "169.254.0.0/16": "link-local (RFC 3927)",
    "172.16.0.0/12": "private (RFC 1918)",
    "192.0.0.0/24": "protocol assignments (RFC 6890)",
    "192.0.2.0/24": "documentation (RFC 5737)",
    "192.31.196.0/24": "AS112 (RFC 7535)",
    "192.52.193.0/24": "AMT relays (RFC 7450)",
    "192.88.99.0/24": "6to4 relays (RFC 7526)",
    "192.168.0.0/16": "private (RFC 1918)",
    "192.175.48.0/24": "AS112 (RFC 7534)",
    "198.18.0.0/15": "benchmarks (RFC 2544)",
    "198.51.100.0/24": "documentation (RFC 5737)",
    "203.0.113.0/24": "documentation (RFC 5737)",
    "224.0.0.0/4": "multicast (RFC 5771)",
    "240.0.0.0/4": "reserved, and broadcast (RFC 1112, RFC 919)",
}
"""Networks that are never called, and what they are for."""

IPV6_UNICAST = "2000::/3"
"""All that IANA has given out as global unicast; what lies outside is refused."""

IPV6_REFUSED: dict[str, str] = {
    "2001::/23": "protocol assignments: Teredo, ORCHID, benchmarks, AMT (RFC 2928)",
    "2001:db8::/32": "documentation (RFC 3849)",
    "2002::/16": "6to4 (RFC 3056): embeds an IPv4 address",
    "2620:4f:8000::/48": "AS112 (RFC 7534)",
    "3ffe::/16": "6bone, given back (RFC 3701)",
    "3fff::/20": "documentation (RFC 9637)",
}
"""Networks within :data:`IPV6_UNICAST` that are never called, and what they are for."""

OUTSIDE_UNICAST: dict[str, str] = {
    "::/128": "no address (RFC 4291)",
    "::1/128": "this host (RFC 4291)",
    "::ffff:0:0/96": "IPv4-mapped (RFC 4291): embeds an IPv4 address",
    "::ffff:0:0:0/96": "IPv4-translated (RFC 2765): embeds an IPv4 address",
    "::/96": "IPv4-compatible (RFC 4291): embeds an IPv4 address",
    "64:ff9b::/96": "NAT64 (RFC 6052): embeds an IPv4 address",
    "64:ff9b:1::/48": "NAT64 of one network (RFC 8215): embeds an IPv4 address",
    "100::/64": "discarded (RFC 6666)",
    "5f00::/16": "SRv6 segments (RFC 9602)",
    "fc00::/7": "unique local (RFC 4193)",
    "fe80::/10": "link-local (RFC 4291)",
    "fec0::/10": "site-local (RFC 3879)",
    "ff00::/8": "multicast (RFC 4291)",
}
"""What the best known networks outside :data:`IPV6_UNICAST` are for; the first that fits counts."""

_ISATAP = {0x0000_5EFE, 0x0200_5EFE}
"""Upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214, 6.1)."""

_V4 = [(IPv4Network(net), what) for net, what in IPV4_REFUSED.items()]
_V6 = [(IPv6Network(net), what) for net, what in (OUTSIDE_UNICAST | IPV6_REFUSED).items()]
_UNICAST = IPv6Network(IPV6_UNICAST)


def refusal_of(address: str) -> str | None:
    """Why an address must not be called; None: it is a global unicast address.

    Args:
        address: as ``getaddrinfo`` spells it, IPv6 without brackets. One with a zone
            (``fe80::1%eth0``), or that is no address at all, is refused.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return "not an IP address"
    refused = _ipv4(found) if isinstance(found, IPv4Address) else _ipv6(found)
    return refused or (None if found.is_global else "not global (IANA)")


def _ipv4(address: IPv4Address) -> str | None:
    return next((what for net, what in _V4 if address in net), None)


def _ipv6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "it has a zone (RFC 4007)"
    for net, what in _V6:
        if address in net:
            return what
    if address not in _UNICAST:
        return "not global unicast (RFC 4291)"
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return "ISATAP (RFC 5214): embeds an IPv4 address"
    return None
