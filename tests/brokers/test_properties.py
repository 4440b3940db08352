import pytest

from visionbus.brokers.properties import Ports, as_file, cluster_properties, node_properties


@pytest.mark.parametrize(("nodes", "copies", "in_sync"), [(1, "1", "1"), (2, "2", "1"), (3, "3", "2"), (5, "3", "2")])
def test_copies_go_by_the_number_of_nodes(nodes, copies, in_sync):
    properties = cluster_properties(nodes)
    factors = {value for name, value in properties.items() if name.endswith("replication.factor")}
    least = {value for name, value in properties.items() if name.endswith(("min.isr", "insync.replicas"))}
    assert (factors, least) == ({copies}, {in_sync})


def test_node_is_one_of_the_voters():
    ports = [Ports(1, 2, 3, 4), Ports(5, 6, 7, 8)]
    properties = node_properties(2, ports, "/data", secured=False)
    assert properties["node.id"] == "2"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:2,2@127.0.0.1:6"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:5,CONTROLLER://127.0.0.1:6"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:5"


def test_secured_node_has_two_listeners_more():
    properties = node_properties(1, [Ports(1, 2, 3, 4)], "/data", secured=True)
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1,SASL://127.0.0.1:3,MUTUAL://127.0.0.1:4"
    assert "SASL:SASL_SSL,MUTUAL:SSL" in properties["listener.security.protocol.map"]


def test_values_are_escaped_as_java_reads_them():
    assert as_file({"a": 'x"\\y', "b": "ü\n"}) == 'a=x\\"\\\\y\nb=\\u00fc\\n\n'
