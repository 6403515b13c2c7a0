"""What a webhook's URL means: whom it may reach, and at which addresses."""

from __future__ import annotations

import queue
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import quote

from rag_audio.api.addresses import refusal_of
from rag_audio.errors import InvalidInput
from rag_audio.service.hosts import host_and_port

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
        listed: ``host:port``, from :func:`rag_audio.service.hosts.listed_hosts`: these may be
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
    return require_public(target, _resolve(target, timeout_s))


def require_public(target: Target, found: tuple[str, ...]) -> tuple[str, ...]:
    """Let the addresses that a target has be called: these addresses.

    Raises:
        InvalidInput: there is none, or any of them must not be called: an answer that mixes public
            and private addresses is an attempt to get past this check.
    """
    if not found or (not target.listed and any(refusal_of(one) for one in found)):
        # The same words for both: whoever asks could otherwise list the names of our network.
        raise InvalidInput(
            f"the webhook's host {target.host} has no public address",
            hint="all addresses that it resolves to must be public",
        )
    return found


def look_up(target: Target) -> tuple[str, ...]:
    """Ask the resolver, however long it takes; empty: there is no such name."""
    try:
        found = socket.getaddrinfo(target.server_name, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(one[4][0]) for one in found))


def _resolve(target: Target, timeout_s: float) -> tuple[str, ...]:
    """Resolve in a thread that is left behind when time is over: the resolver takes no deadline."""
    answers: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: answers.put(look_up(target)), name="resolving", daemon=True
    ).start()
    try:
        return answers.get(timeout=max(0.0, timeout_s))
    except queue.Empty:
        return ()
