"""Finds free TCP ports on loopback that stay free."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.brokers.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "127.0.0.1"
_LOWEST = 10_000  # below are the ports that programs are known by
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_OUTGOING = 32_768
_TRIED = 1000  # ports, until enough of them are free
_STARTS = 3  # on ports that others may take meanwhile


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now, below those that the kernel gives to outgoing connections.

    A client that tries to reach a broker that is down could otherwise be given the broker's own port for its end, be
    connected to itself, and keep the broker from coming back.
    """
    first_outgoing = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else _USUAL_OUTGOING
    if first_outgoing <= _LOWEST + _TRIED:  # this machine leaves none
        return _any(count)
    tried = random.sample(range(_LOWEST, first_outgoing), _TRIED)
    free = (port for port in tried if is_free(port))
    return [next(free) for _ in range(count)]


def preferred_port(asked: int | None, usual: int | None, report: Callable[[str], None]) -> int | None:
    """Return the port that was asked for, else the usual one if it is free; None if any will do.

    `PortError` if the one that was asked for is taken; `report` is told if the usual one is.
    """
    if asked and not is_free(asked):
        raise PortError(f"port {asked} is taken by another program: name another")
    if asked or not usual or is_free(usual):
        return asked or usual
    report(f"port {usual} is taken: a free one is chosen")
    return None


def start_on_free_ports(start: Callable[[], None], end: Callable[[], None]) -> None:
    """Start what chooses its ports: again, once it is ended, if another program took one meanwhile (`PortError`)."""
    for starts in range(1, _STARTS + 1):
        try:
            start()
        except PortError:
            end()
            if starts == _STARTS:
                raise
        else:
            return


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
