"""A real Kafka, started and ended by us."""


def test_one_node_is_up(kafka):
    assert kafka.url == f"kafka://{kafka.bootstrap}"
