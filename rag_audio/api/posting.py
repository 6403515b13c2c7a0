"""One POST to an address that was checked, within a deadline; only the status is read."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, cast

from rag_audio.api.targets import Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_HEAD = 64 * 1024
"""Bytes of an answer that are read: its head, and what of the body came with it."""
MOST_ADDRESSES = 4
"""Of a host's that are tried."""
_CHUNK = 16 * 1024

FAULTS = (OSError, HTTPException, ValueError)
"""What a call can fail with. Of OSError are timeouts, refusals and TLS; of ValueError encodings and
headers that cannot be sent."""


class Deadline:
    """A moment by which everything must be done.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, above 0.

        Raises:
            TimeoutError: there are none.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def post(
    target: Target,
    addresses: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    deadline: Deadline,
    tls: ssl.SSLContext,
) -> int:
    """Send a body, and the status of the answer; redirects are not followed, no body is read.

    Args:
        addresses: of the host, checked; the first that can be connected to is used.
        headers: beside ``Host`` and ``Content-Length``.

    Raises:
        OSError, HTTPException, ValueError: see :data:`FAULTS`.
    """
    with closing(_connect(addresses[:MOST_ADDRESSES], target.port, deadline)) as plain:
        plain.settimeout(deadline.left_s())
        secure = target.scheme == "https"
        name = target.server_name
        with closing(tls.wrap_socket(plain, server_hostname=name) if secure else plain) as wire:
            connection = HTTPConnection(name, target.port)
            connection.sock = cast(socket.socket, _Timed(wire, deadline))
            all_headers = {"Host": target.authority, "Connection": "close", **headers}
            connection.request("POST", target.path, body, all_headers)
            with closing(connection.getresponse()) as answer:
                return answer.status


def _connect(addresses: Sequence[str], port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers; each gets its part of the time that is left."""
    failed: OSError = OSError("no address")
    for i, address in enumerate(addresses):
        share_s = deadline.left_s() / (len(addresses) - i)
        try:
            return socket.create_connection((address, port), share_s)
        except OSError as error:
            failed = error
    raise failed


class _Timed:
    """A socket that keeps to a deadline, however slowly the other side drips."""

    def __init__(self, wire: socket.socket, deadline: Deadline) -> None:
        self._wire, self._deadline = wire, deadline

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for begin in range(0, len(view), _CHUNK):
            self._wire.settimeout(self._deadline.left_s())
            self._wire.sendall(view[begin : begin + _CHUNK])

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Head(self._wire, self._deadline))

    def close(self) -> None:
        """Whoever connected closes."""


class _Head(io.RawIOBase):
    """The beginning of an answer."""

    def __init__(self, wire: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._wire, self._deadline, self._read = wire, deadline, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._read >= MOST_HEAD:
            raise OSError(f"the answer's head is longer than {MOST_HEAD} bytes")
        self._wire.settimeout(self._deadline.left_s())
        got = self._wire.recv_into(buffer)
        self._read += got
        return got
