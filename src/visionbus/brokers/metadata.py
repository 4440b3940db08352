"""Asks a Kafka broker which brokers it knows, without any client library.

The request is Metadata, version 1: https://kafka.apache.org/protocol (numbers are big-endian; a string is its length in
two bytes and its UTF-8).
"""

from __future__ import annotations

import socket
import struct

from visionbus.brokers.ports import HOST

_METADATA, _VERSION, _ID, _NO_CLIENT, _NO_TOPICS = 3, 1, 1, -1, 0
_PATIENCE = 5.0  # seconds


def known_brokers(port: int) -> set[int]:
    """Return the ids of the brokers that the one on this port of loopback knows to be alive; none if it is not up."""
    request = struct.pack("!hhihi", _METADATA, _VERSION, _ID, _NO_CLIENT, _NO_TOPICS)
    try:
        with socket.create_connection((HOST, port), _PATIENCE) as connection:
            connection.sendall(struct.pack("!i", len(request)) + request)
            (size,) = struct.unpack("!i", _read(connection, 4))
            return _broker_ids(_read(connection, size))
    except (OSError, EOFError):
        return set()


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _broker_ids(response: bytes) -> set[int]:
    """Read the ids: after the request's id an array of id, host, port and rack (of length -1 for none)."""
    (count,) = struct.unpack_from("!i", response, 4)
    at = 8
    ids = set()
    for _ in range(count):
        number, host = struct.unpack_from("!ih", response, at)
        (rack,) = struct.unpack_from("!h", response, at + 6 + host + 4)
        at += 6 + host + 4 + 2 + max(rack, 0)
        ids.add(number)
    return ids
