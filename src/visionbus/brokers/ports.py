"""Finds free TCP ports on loopback that stay free."""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
_LOWEST = 10_000  # below are the ports that programs are known by
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_OUTGOING = 32_768
_TRIES = 1000


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now, below those that the kernel gives to outgoing connections.

    A client that tries to reach a broker that is down could otherwise be given the broker's own port for its end, be
    connected to itself, and keep the broker from coming back.
    """
    first_outgoing = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else _USUAL_OUTGOING
    if first_outgoing <= _LOWEST + _TRIES:  # this machine leaves none
        return _any(count)
    tried = random.sample(range(_LOWEST, first_outgoing), _TRIES)
    free = (port for port in tried if is_free(port))
    return [next(free) for _ in range(count)]


def is_free(port: int) -> bool:
    """Tell whether a broker could listen on this port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def _any(count: int) -> list[int]:
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
