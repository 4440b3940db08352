"""What a bus remembers of acks."""

from visionbus.messaging.drivers.pubsub.acked import AckedIds


def test_acked_ids_are_found_among_others():
    acked = AckedIds()
    acked.add(["1", "2"])
    acked.add(["3"])
    assert acked.among(["0", "1", "3", "1"]) == {"1", "3"}
    assert acked.among(["0", "4"]) == set()


def test_memory_is_bounded_and_keeps_the_newest():
    acked = AckedIds(remembered=10)
    for number in range(1000):
        acked.add([str(number)])
        newest = {str(one) for one in range(max(0, number - 9), number + 1)}
        assert acked.among(newest) == newest
        assert len(acked) <= 20


def test_more_than_is_remembered_may_be_acked_at_once():
    acked = AckedIds(remembered=10)
    acked.add([str(number) for number in range(100)])
    assert acked.among(["0", "99"]) == {"0", "99"}
