"""What a bus remembers of acks."""

from datetime import UTC, datetime

from visionbus.messaging.drivers.pubsub.acked import AckedIds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def names(*numbers):
    return {str(number): NOW for number in numbers}


def test_acked_ids_are_found_among_others():
    acked = AckedIds()
    acked.add(names(1, 2))
    acked.add(names(3))
    assert acked.among(["0", "1", "3", "1"]) == names(1, 3)
    assert acked.among(["0", "4"]) == {}


def test_memory_is_bounded_and_keeps_the_newest():
    acked = AckedIds(remembered=10)
    for number in range(1000):
        acked.add(names(number))
        newest = names(*range(max(0, number - 9), number + 1))
        assert acked.among(list(newest)) == newest
        assert len(acked) <= 20


def test_more_than_is_remembered_may_be_acked_at_once():
    acked = AckedIds(remembered=10)
    acked.add(names(*range(100)))
    assert acked.among(["0", "99"]) == names(0, 99)


def test_id_that_is_given_anew_has_its_newest_time():
    later = NOW.replace(year=2027)
    acked = AckedIds(remembered=2)
    acked.add(names(1, 2))
    acked.add({"1": later})
    assert acked.among(["1", "2"]) == {"1": later, "2": NOW}
