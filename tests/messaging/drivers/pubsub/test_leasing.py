"""The tests' own service does with leases and keys what Google documents."""

import sys
from pathlib import Path

from google.pubsub_v1.types import pubsub
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))
from leasing import Leasing

DEADLINE = 10.0


def message(data, key=""):
    return pubsub.PubsubMessage.pb()(data=data.encode(), ordering_key=key)


def filled(*messages, **options):
    """Make a leasing with these, each "data" or "data@key"."""
    leasing = Leasing(**options)
    for one in messages:
        leasing.publish(message(one, one.partition("@")[2]), 0.0)
    return leasing


def delivered(leasing, stream="stream", now=0.0, **limits):
    return {entry.message.data.decode(): ack_id for ack_id, entry in leasing.deliver(stream, now, DEADLINE, **limits)}


def test_acked_message_does_not_come_again():
    leasing = filled("1", "2")
    leasing.ack(delivered(leasing)["1"], 1.0)
    assert leasing.expire(DEADLINE)
    assert list(delivered(leasing)) == ["2"]


def test_expired_ack_changes_nothing():
    leasing = filled("1", "1@key")
    out = delivered(leasing)
    for ack_id in out.values():
        leasing.ack(ack_id, DEADLINE)
    leasing.expire(DEADLINE)
    assert delivered(leasing).keys() == out.keys()


def test_extended_lease_holds_and_attempts_are_counted():
    leasing = filled("1")
    leasing.modify(delivered(leasing)["1"], 9.0, 10)
    assert not leasing.expire(18.9)
    assert leasing.expire(19.0)
    ((ack_id, entry),) = leasing.deliver("stream", 19.0, DEADLINE)
    assert entry.attempt == 2
    leasing.modify(ack_id, 20.0, 0)
    assert leasing.deliver("stream", 20.0, DEADLINE)[0][1].attempt == 3


def test_nacked_message_brings_all_behind_it_in_its_key_even_what_was_acked():
    leasing = filled("1@a", "2@a", "3@b", "4@a")
    out = delivered(leasing)
    leasing.ack(out["2@a"], 1.0)
    leasing.ack(out["3@b"], 1.0)
    leasing.modify(out["1@a"], 1.0, 0)
    leasing.ack(out["4@a"], 1.0)  # which is not its ack id any more
    assert list(delivered(leasing)) == ["1@a", "2@a", "4@a"]


def test_what_is_acked_before_a_redelivered_message_stays_acked():
    leasing = filled("1@a", "2@a")
    out = delivered(leasing)
    leasing.ack(out["1@a"], 1.0)
    leasing.modify(out["2@a"], 1.0, 0)
    assert list(delivered(leasing)) == ["2@a"]


def test_key_stays_with_the_stream_that_has_messages_of_it():
    leasing = filled("1@a", "2@a")
    out = delivered(leasing, "first", messages=1)
    assert not delivered(leasing, "second")
    leasing.ack(out["1@a"], 1.0)
    assert delivered(leasing, "second")


def test_without_ordering_keys_mean_nothing():
    leasing = filled("1@a", "2@a", ordered=False)
    leasing.modify(delivered(leasing, "first", messages=1)["1@a"], 1.0, 0)
    assert list(delivered(leasing, "second")) == ["2@a", "1@a"]


def test_limit_in_bytes_is_kept_but_for_a_first_message_and_what_is_left_out_comes_later():
    leasing = filled("1@a", "2@a", "3")
    assert list(delivered(leasing, size=1)) == ["1@a"]
    assert list(delivered(leasing)) == ["2@a", "3"]


def test_messages_past_the_retention_are_gone():
    leasing = filled("1", retention=600.0)
    leasing.expire(601.0)
    assert not delivered(leasing)
    assert not leasing.unacked()


@given(
    st.lists(st.sampled_from(["", "a", "b"]), max_size=20),
    st.lists(st.tuples(st.sampled_from(["ack", "nack", "wait", "repeat"]), st.integers(0, 50)), max_size=60),
)
def test_whatever_happens_nothing_is_lost_keys_keep_their_order_and_what_is_acked_in_the_end_is_gone(keys, acts):
    leasing = filled(*(f"{number}@{key}" if key else f"{number}" for number, key in enumerate(keys)))
    now, acked, out = 0.0, set(), {}
    for act, number in acts:
        for ack_id, entry in leasing.deliver(f"stream {number % 3}", now, DEADLINE, messages=1 + number % 5):
            data = entry.message.data.decode()
            out[ack_id] = data
            acked.discard(data)  # it was, behind another one
        ack_id = list(out)[number % len(out)] if out else None
        if act == "ack" and ack_id in leasing._leases:
            leasing.ack(ack_id, now)
            acked.add(out[ack_id])
        elif act == "nack":
            leasing.modify(ack_id, now, 0)
        elif act == "wait":
            now += number / 5
            leasing.expire(now)
        elif act == "repeat":
            leasing.repeat(0.3, iter([number % 7 / 10] * 100).__next__)
        held = {one.data.decode() for one in leasing.unacked()}
        assert held | acked == {f"{number}@{key}" if key else f"{number}" for number, key in enumerate(keys)}
    leasing.expire(now + 1000)
    last = {}
    for ack_id, entry in leasing.deliver("last", now + 1000, DEADLINE):
        name, number = entry.message.ordering_key, int(entry.message.data.decode().partition("@")[0])
        assert not name or number > last.get(name, -1)
        last[name] = number
        leasing.ack(ack_id, now + 1000)
    assert not leasing.unacked()
    assert not leasing.messages_out
