"""How old may be what a stream brings next, without a stream: times are given."""

from visionbus.messaging.drivers.pubsub.age import Age


def test_what_is_read_was_not_sent_before_the_buffers_were_empty():
    age = Age(100)
    age.emptied(5.0)
    assert age.read(10, 7.0) == 5.0
    assert age.read(10, 8.0) == 5.0
    age.emptied(9.0)
    assert age.read(10, 9.5) == 9.0


def test_after_as_many_as_may_be_outstanding_what_follows_was_sent_since_they_were_begun():
    age = Age(100)
    age.emptied(0.0)
    assert [age.read(50, now) for now in (1.0, 2.0, 3.0, 4.0, 5.0)] == [0.0, 0.0, 0.0, 0.0, 2.0]


def test_what_was_read_counts_for_nothing_after_a_pause():
    age = Age(100)
    age.emptied(0.0)
    age.paused = True
    assert [age.read(100, now) for now in (10.0, 20.0, 30.0)] == [0.0, 0.0, 0.0]
    age.emptied(40.0)
    assert not age.paused
