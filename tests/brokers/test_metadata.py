import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from visionbus.brokers.metadata import known_brokers
from visionbus.brokers.ports import HOST, free_ports


def broker(number, host=b"127.0.0.1", rack=None):
    rack = struct.pack("!h", -1) if rack is None else struct.pack("!h", len(rack)) + rack
    return struct.pack("!ih", number, len(host)) + host + struct.pack("!i", 9092) + rack


def answered(*chunks):
    """What is made of a server that answers one request in these chunks."""

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            (size,) = struct.unpack("!i", connection.recv(4))
            connection.recv(size)
            for chunk in chunks:
                connection.sendall(chunk)

    with socket.create_server((HOST, 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(serve, listener)
        return known_brokers(listener.getsockname()[1])


def test_brokers_are_read_whatever_their_hosts_and_racks():
    brokers = struct.pack("!ii", 1, 3) + broker(7) + broker(8, b"", b"rack-a") + broker(300, b"a.b", b"")
    assert answered(struct.pack("!i", len(brokers)), brokers[:9], brokers[9:]) == {7, 8, 300}


@pytest.mark.parametrize("answer", [b"", b"\0\0", struct.pack("!i", 100) + b"short"])
def test_answer_that_is_cut_off_counts_as_none(answer):
    assert answered(answer) == set()


def test_port_that_nobody_listens_on_knows_none():
    assert known_brokers(free_ports(1)[0]) == set()
