"""Signals as a wish to stop."""

import os
import signal

import pytest

pytest.importorskip("torch")

from visionbus.training.stop import Stop

pytestmark = pytest.mark.slow  # torch takes seconds to import


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_a_wish_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_program_that_handles_a_signal_itself_keeps_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("its own"))
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (heard, stop()) == (["its own"], False)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_is_to_be_told_hears_of_a_wish_that_came_before():
    stop, told = Stop(), []
    stop.requested = True
    with stop.calling(lambda: told.append("stop")):
        assert told == ["stop"]
