"""What the broker hears of ack ids: the calls are recorded, everything else is real."""

import asyncio
import logging

from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from visionbus.messaging.drivers.pubsub import acks
from visionbus.messaging.drivers.pubsub.acks import Acks

PATH = "projects/p/subscriptions/images.workers"


class Calls:
    """Takes calls, each with the next answer: a status, or None for success, as all that follow."""

    def __init__(self, *answers):
        self.made = []
        self._answers = list(answers)

    async def __call__(self, method, request, timeout):
        self.made.append((method, list(request.ack_ids)))
        if self._answers and (code := self._answers.pop(0)):
            raise AioRpcError(code, Metadata(), Metadata(), "the test wants it so")


def sender(calls, full=1000, patience=60.0):
    return Acks(calls, PATH, full=full, patience=patience)


async def test_acks_are_gathered_into_one_call():
    calls = Calls()
    sending = sender(calls)
    for number in range(10):
        sending.ack([str(number)])
        await asyncio.sleep(0)
    assert calls.made == []
    await sending.flush(1.0)
    assert calls.made == [("Acknowledge", [str(number) for number in range(10)])]


async def test_gathered_acks_go_by_themselves():
    calls = Calls()
    sender(calls).ack(["a"])
    while not calls.made:  # noqa: ASYNC110 (the call is the event)
        await asyncio.sleep(0.01)
    assert calls.made == [("Acknowledge", ["a"])]


async def test_those_of_messages_with_keys_go_sooner(monkeypatch):
    monkeypatch.setattr(acks, "GATHER", 60.0)
    calls = Calls()
    sender(calls).ack(["a"], keyed=True)
    while not calls.made:  # noqa: ASYNC110 (the call is the event)
        await asyncio.sleep(0.01)
    assert calls.made == [("Acknowledge", ["a"])]


async def test_as_many_as_are_enough_go_at_once():
    calls = Calls()
    sending = sender(calls, full=3)
    sending.ack(["a", "b"])
    await asyncio.sleep(0)
    assert not calls.made
    sending.ack(["c"])
    await asyncio.sleep(0)
    assert calls.made == [("Acknowledge", ["a", "b", "c"])]


async def test_nothing_makes_no_call():
    calls = Calls()
    sending = sender(calls)
    sending.ack([])
    sending.give_back([])
    await sending.flush(1.0)
    assert calls.made == []


async def test_calls_keep_the_limits_of_a_request():
    calls = Calls()
    sending = sender(calls, full=10**6)
    short = [f"{number}" for number in range(6000)]
    long = [f"{number:05}".ljust(400, "x") for number in range(3000)]
    sending.give_back(short)
    sending.ack(long)
    await sending.flush(5.0)
    assert [one for method, part in calls.made if method == "ModifyAckDeadline" for one in part] == short
    assert [one for method, part in calls.made if method == "Acknowledge" for one in part] == long
    assert all(len(part) <= 2500 and sum(map(len, part)) < 512 * 1024 for _, part in calls.made)


async def test_calls_that_may_succeed_later_are_made_again():
    calls = Calls(StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED)
    sending = sender(calls)
    sending.ack(["a"])
    await sending.flush(10.0)
    assert calls.made == [("Acknowledge", ["a"])] * 5


async def test_acks_that_are_refused_are_told_and_not_made_again(caplog):
    calls = Calls(StatusCode.PERMISSION_DENIED)
    sending = sender(calls)
    sending.ack(["a", "b"])
    await sending.flush(10.0)
    assert len(calls.made) == 1
    assert "2 messages may come again" in caplog.text


async def test_acks_are_given_up_once_their_messages_are_with_others(caplog):
    calls = Calls(*[StatusCode.UNAVAILABLE] * 100)
    sending = sender(calls, patience=0.0)
    sending.ack(["a"])
    await sending.flush(10.0)
    assert len(calls.made) == 1
    assert "may come again" in caplog.text


async def test_flush_waits_no_longer_than_it_may(caplog):
    async def never(*_):
        await asyncio.Event().wait()

    sending = sender(never)
    sending.ack(["a"])
    await sending.flush(0.01)
    assert "did not answer" in caplog.text


async def test_extension_is_tried_once_and_tells_whether_it_was_heard(caplog):
    caplog.set_level(logging.INFO)
    sending = sender(Calls(StatusCode.UNAVAILABLE))
    assert not await sending.extend(["a"], 10.0)
    assert await sending.extend(["a"], 10.0)


async def test_too_much_that_waits_for_the_broker_is_known(monkeypatch):
    monkeypatch.setattr(acks, "PENDING", 10)
    calls = Calls(StatusCode.UNAVAILABLE)
    sending = sender(calls)
    sending.ack([str(number) for number in range(11)])
    sending.send()
    assert sending.overdue
    await sending.flush(10.0)
    assert not sending.overdue
