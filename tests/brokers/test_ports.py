import socket
from pathlib import Path

import pytest

from visionbus.brokers.ports import HOST, free_ports, is_free

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_free_ports_differ_and_can_be_listened_on():
    ports = free_ports(20)
    listeners = [socket.create_server((HOST, port)) for port in ports]
    assert len(set(ports)) == 20
    for listener in listeners:
        listener.close()


@pytest.mark.skipif(not OUTGOING.exists(), reason="only Linux says which ports it gives to outgoing connections")
def test_free_ports_are_none_that_an_outgoing_connection_gets():
    lowest = int(OUTGOING.read_text().split()[0])
    assert lowest <= 11_000 or max(free_ports(50)) < lowest


@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])
def test_port_that_somebody_listens_on_is_not_free(host):
    with socket.create_server((host, 0)) as listener:
        assert not is_free(listener.getsockname()[1])


def test_port_just_left_is_free():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((HOST, port))
        listener.accept()[0].close()  # the end that closes first waits (TIME_WAIT)
        client.close()
    assert is_free(port)
