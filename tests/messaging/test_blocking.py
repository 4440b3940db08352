"""The blocking twin: the same verbs, from any thread."""

import asyncio
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from visionbus.messaging import ClosedError, Message, NotFoundError, Retry, connect_blocking


@pytest.fixture(params=["memory", "sqlite"])
def bus(request, tmp_path):
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bus.db"
    with connect_blocking(url) as bus:
        yield bus


@pytest.fixture
def topic(bus):
    name = f"images-{uuid.uuid4().hex}"
    bus.declare(name, "workers")
    return name


def test_all_verbs(bus, topic):
    ids = bus.send(topic, *(Message(b"%d" % number) for number in range(4)))
    with bus.subscribe(topic, "workers", ack_deadline=30.0, retry=Retry(delay=0.0)) as receiver:
        assert receiver.ack_deadline == 30.0
        taken = []
        while len(taken) < 4:
            taken += receiver.receive(4, linger=0.01, timeout=5.0)
        assert [one.id for one in taken] == ids
        receiver.ack(taken[0], taken[1])
        receiver.nack(taken[2], delay=0.0)
        receiver.reject(taken[3], reason="bad")
        (again,) = receiver.receive()
        assert (again.message.data, again.attempt) == (b"2", 2)
        receiver.ack(again)
        assert receiver.receive(timeout=0.05) == []
    with bus.subscribe(f"{topic}.workers.dead", "dead-letters") as letters:
        assert next(iter(letters)).message.attributes["visionbus-reason"] == "bad"


def test_errors_are_those_of_the_bus(bus, topic):
    with pytest.raises(NotFoundError):
        bus.send(f"{topic}-other", Message(b""))
    with pytest.raises(NotFoundError):
        bus.subscribe(topic, "others").__enter__()
    with pytest.raises(ValueError, match="max_messages"), bus.subscribe(topic, "workers") as receiver:
        receiver.receive(0)


def test_several_threads_share_one_subscription(bus, topic):
    bus.send(topic, *(Message(b"%d" % number) for number in range(200)))

    def work(receiver):
        done = []
        while batch := receiver.receive(7, timeout=0.2):
            receiver.ack(*batch)
            done += batch
        return done

    with bus.subscribe(topic, "workers", max_in_flight=20) as receiver, ThreadPoolExecutor(4) as pool:
        done = [one for task in [pool.submit(work, receiver) for _ in range(4)] for one in task.result()]
    assert sorted(int(one.message.data) for one in done) == list(range(200))


def test_several_threads_send(bus, topic):
    with ThreadPoolExecutor(4) as pool:
        sends = [pool.submit(bus.send, topic, Message(b"%d" % number)) for number in range(50)]
        assert len({name for send in sends for name in send.result()}) == 50


def waiting(verb):
    """Run a verb that waits in a thread; give a function that tells how it ended."""
    outcome = []

    def run():
        try:
            outcome.append(verb())
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended():
        thread.join(10)
        assert not thread.is_alive()
        return outcome[0]

    return ended


def test_receive_ends_when_another_thread_closes_the_subscription(bus, topic):
    receiver = bus.subscribe(topic, "workers").__enter__()
    ended = waiting(receiver.receive)
    assert receiver.receive(timeout=0.05) == []
    receiver.close()
    assert isinstance(ended(), ClosedError)


def test_iteration_ends_when_another_thread_closes_the_bus(bus, topic):
    receiver = bus.subscribe(topic, "workers").__enter__()
    bus.send(topic, Message(b"data"))
    ended = waiting(lambda: [one.message.data for one in receiver])
    receiver.receive(timeout=0.05)
    bus.close()
    assert ended() in ([b"data"], [])


def test_verb_that_waits_ends_when_another_thread_closes_the_bus(bus, topic):
    """A verb that no subscription's closing ends: it is cancelled, and its thread goes on."""
    hanging = threading.Event()

    async def hang(*_):
        hanging.set()
        await asyncio.Event().wait()

    bus._bus.send = hang
    ended = waiting(lambda: bus.send(topic, Message(b"")))
    assert hanging.wait(10)
    bus.close()
    assert isinstance(ended(), ClosedError)


def test_use_after_close_says_so(bus, topic):
    receiver = bus.subscribe(topic, "workers").__enter__()
    bus.send(topic, Message(b"data"))
    (one,) = receiver.receive()
    bus.close()
    for verb in (
        lambda: bus.declare(topic),
        lambda: bus.send(topic),
        lambda: bus.subscribe(topic, "workers"),
        bus.__enter__,
        receiver.receive,
        lambda: receiver.ack(one),
        lambda: receiver.nack(one),
        lambda: receiver.reject(one, reason="late"),
    ):
        with pytest.raises(ClosedError):
            verb()
    assert list(receiver) == []
    receiver.close()
    bus.close()


def test_iterating_what_was_not_entered_says_so(bus, topic):
    with pytest.raises(ClosedError, match="not open"):
        next(bus.subscribe(topic, "workers"))


def test_close_gives_back_what_is_not_acked(bus, topic):
    bus.send(topic, Message(b"data"))
    with bus.subscribe(topic, "workers", ack_deadline=600.0) as receiver:
        receiver.receive()
    with bus.subscribe(topic, "workers") as receiver:
        (again,) = receiver.receive()
    assert (again.message.data, again.attempt) == (b"data", 1)


@pytest.fixture
def interrupts():
    """Have SIGINT interrupt, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupted_receive_loses_nothing(bus, topic, interrupts):
    """Ctrl-C, as it comes: at any moment of a receive in the main thread."""
    got = []
    main = threading.get_ident()
    for round_ in range(20):
        with bus.subscribe(topic, "workers") as receiver:
            bus.send(topic, Message(b"%d" % round_))
            interrupt = threading.Timer(0.001 * (round_ % 5), signal.pthread_kill, (main, signal.SIGINT))
            try:
                interrupt.start()
                while True:
                    batch = receiver.receive()
                    got += [one.message.data for one in batch]
                    receiver.ack(*batch)
            except KeyboardInterrupt:
                interrupt.join()
    with bus.subscribe(topic, "workers") as receiver:
        while batch := receiver.receive(100, timeout=0.2):
            got += [one.message.data for one in batch]
            receiver.ack(*batch)
    assert set(got) == {b"%d" % number for number in range(20)}


def test_receiver_goes_on_after_an_interrupt(bus, topic, interrupts):
    with bus.subscribe(topic, "workers") as receiver:
        interrupt = threading.Timer(0.02, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come as soon as it is on its way)
            interrupt.start()
            receiver.receive()
        interrupt.join()
        bus.send(topic, Message(b"data"))
        (one,) = receiver.receive(timeout=5.0)
    assert one.message.data == b"data"


@pytest.mark.slow
def test_leases_are_extended_while_the_program_computes(bus, topic):
    bus.send(topic, Message(b"data"))
    with bus.subscribe(topic, "workers", ack_deadline=4.0) as receiver, bus.subscribe(topic, "workers") as other:
        (one,) = receiver.receive()
        assert other.receive(timeout=5.0) == []
        receiver.ack(one)


def test_bus_that_is_left_open_does_not_keep_the_program_alive():
    code = "from visionbus.messaging import connect_blocking; b = connect_blocking('memory://'); b.declare('abc')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_process_forked_from_an_open_bus_ends_by_itself():
    forking = """
import os, sys
from visionbus.messaging import connect_blocking

with connect_blocking("memory://") as bus:
    bus.declare("images", "workers")
    with bus.subscribe("images", "workers"):
        if (child := os.fork()) == 0:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    subprocess.run([sys.executable, "-c", forking], check=True, timeout=30)
