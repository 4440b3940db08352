"""A real Kafka, started and ended by us: what it keeps, how it fails, and that nothing of it stays."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from visionbus.brokers.errors import PortError, StartError
from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.metadata import known_brokers
from visionbus.brokers.ports import HOST, free_ports
from visionbus.brokers.properties import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PARENT = """
import time
from visionbus.brokers.kafka import KafkaCluster
with KafkaCluster() as cluster:
    print("ready", flush=True)
    time.sleep(600)
"""


def make_topic(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic("topic", num_partitions=1)])["topic"].result(30)


def send(cluster, *values):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    failures = []
    for value in values:
        producer.produce("topic", value, partition=0, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(60) == 0
    assert failures == [None] * len(values)


def read(cluster, count):
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition("topic", 0, 0)])
    records = []
    while len(records) < count:
        got = consumer.consume(count - len(records), timeout=60)
        assert got, f"{len(records)} of {count} came"
        records += got
    consumer.close()
    return [record.value() for record in records]


def ports_of(cluster):
    return [int(address.rpartition(":")[2]) for address in cluster.bootstrap.split(",")]


def test_session_has_a_broker_that_serves(kafka):
    assert kafka.url == f"kafka://{kafka.bootstrap}"
    assert AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).brokers


def test_killed_node_comes_back_on_its_port_with_its_data():
    with KafkaCluster(properties=QUICK) as cluster:
        url = cluster.url
        make_topic(cluster)
        send(cluster, b"before")
        cluster.kill(1)
        assert known_brokers(*ports_of(cluster)) == set()
        cluster.start(1)
        send(cluster, b"after")
        assert (cluster.url, read(cluster, 2)) == (url, [b"before", b"after"])


def test_data_folder_is_gone_on_with_and_a_temporary_one_is_removed(tmp_path):
    with KafkaCluster(data=tmp_path / "data", properties=QUICK) as cluster:
        make_topic(cluster)
        send(cluster, b"kept")
    with KafkaCluster(data=tmp_path / "data", properties=QUICK) as cluster:
        assert read(cluster, 1) == [b"kept"]


def test_temporary_folder_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with KafkaCluster():
        assert list(tmp_path.glob("visionbus-kafka-*/node-1/log.txt"))
    assert list(tmp_path.iterdir()) == []


def test_three_nodes_form_a_cluster_that_outlives_one_of_them():
    with KafkaCluster(3, properties=QUICK) as cluster:
        assert [known_brokers(port) for port in ports_of(cluster)] == [{1, 2, 3}] * 3
        assert len(set(ports_of(cluster))) == 3
        make_topic(cluster)
        send(cluster, b"three")
        cluster.kill(1)
        send(cluster, b"two")
        cluster.start(1)
        cluster.stop(2)
        assert read(cluster, 2) == [b"three", b"two"]


def test_frozen_node_answers_nothing_until_it_is_thawed(monkeypatch):
    with KafkaCluster() as cluster:
        cluster.freeze(1)
        with monkeypatch.context() as patch:
            patch.setattr("visionbus.brokers.metadata._PATIENCE", 0.5)
            known_brokers(*ports_of(cluster))  # which may still be answered: a signal stops one thread after the other
            assert known_brokers(*ports_of(cluster)) == set()
        cluster.thaw(1)
        assert AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(timeout=30).brokers.keys() == {1}


def test_property_that_kafka_refuses_is_named():
    with pytest.raises(StartError, match=r"log\.retention\.ms"), KafkaCluster(properties={"log.retention.ms": "soon"}):
        pass


def test_port_that_is_taken_is_an_error():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} is taken"), KafkaCluster(port=port):
            pass


def test_chosen_port_that_somebody_takes_meanwhile_is_exchanged(monkeypatch):
    with socket.create_server((HOST, 0)) as listener:
        taken = [listener.getsockname()[1], *free_ports(3)]
        choices = iter([taken, free_ports(4)])
        monkeypatch.setattr("visionbus.brokers.kafka.free_ports", lambda _: next(choices))
        with KafkaCluster() as cluster:
            assert ports_of(cluster) != taken[:1]


def test_node_that_ends_by_itself_is_told_with_its_log():
    before = psutil.Process().children()
    with KafkaCluster() as cluster:
        (process,) = set(psutil.Process().children()) - set(before)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(StartError, match="node 1 was killed by SIGKILL"):
            cluster.check()
        assert "Kafka Server started" in cluster.logs(1)


def test_nothing_runs_after_the_block():
    before = psutil.Process().children(recursive=True)
    with KafkaCluster():
        pass
    assert psutil.Process().children(recursive=True) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_nodes_end_when_their_process_is_killed(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline() == b"ready\n"
        nodes = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    assert len(nodes) == 1
    alive = psutil.wait_procs(nodes, timeout=20)[1]
    for node in alive:
        node.kill()
    assert alive == []


def test_cluster_of_no_nodes_is_refused():
    with pytest.raises(ValueError, match="one node or more"):
        KafkaCluster(0)
