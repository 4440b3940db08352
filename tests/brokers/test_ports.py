import socket
from pathlib import Path

import pytest

from visionbus.brokers.errors import PortError
from visionbus.brokers.ports import HOST, free_ports, is_free, preferred_port, start_on_free_ports

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


def test_port_that_was_asked_for_comes_before_the_usual_one_which_comes_before_any():
    asked, usual = free_ports(2)
    said = []
    assert preferred_port(asked, usual, said.append) == asked
    assert preferred_port(None, usual, said.append) == usual
    assert preferred_port(None, None, said.append) is None
    assert said == []


def test_usual_port_that_is_taken_is_told_and_one_that_was_asked_for_is_an_error():
    said = []
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert preferred_port(None, port, said.append) is None
        with pytest.raises(PortError, match=f"port {port} is taken"):
            preferred_port(port, None, said.append)
    assert said == [f"port {port} is taken: a free one is chosen"]


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_start_is_tried_three_times_while_others_take_its_ports(failures):
    done = []

    def start():
        done.append("start")
        if done.count("start") <= failures:
            raise PortError("somebody was faster")

    if failures == 3:
        with pytest.raises(PortError):
            start_on_free_ports(start, lambda: done.append("end"))
    else:
        start_on_free_ports(start, lambda: done.append("end"))
    assert done == ["start", "end"] * failures + ["start"] * (failures < 3)
