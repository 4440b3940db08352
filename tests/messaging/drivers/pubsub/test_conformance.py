"""The conformance suite on Google's emulator of Pub/Sub.

Leases there take ten seconds at least, and the emulator feeds the streams of receivers that were killed until they run
out: what waits for leases runs in processes of its own, side by side, while the rest runs here.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from visionbus.messaging.conformance import *  # noqa: F403
from visionbus.messaging.conformance import CLAIMS

WAITING = (
    "test_acked_message_does_not_come_when_its_lease_would_have_ended",
    "test_acks_of_a_process_that_was_frozen_past_its_lease_change_nothing",
    "test_failing_messages_are_buried_and_no_others_while_receivers_are_killed",
    "test_late_acks_and_nacks_of_a_receiver_that_stood_still_change_nothing",
    "test_messages_of_a_killed_process_come_to_the_others_as_the_same_attempt",
    "test_messages_of_a_receiver_whose_loop_ended_without_closing_come_to_the_others",
    "test_messages_of_a_receiver_whose_loop_stands_still_come_to_the_others",
    "test_receiver_that_stood_still_goes_on_afterwards",
    "test_receivers_frozen_and_woken_at_random_lose_nothing",
    "test_slow_handler_keeps_its_message_while_its_loop_turns",
    "test_thirty_random_kills_lose_nothing_and_bury_nothing",
    "test_what_an_idle_receiver_does_not_ask_for_comes_to_the_others",
)
TOGETHER = 4
PROGRAM = """
import sys
import warnings
warnings.simplefilter("error")
from visionbus.messaging.conformance import CLAIMS
CLAIMS[sys.argv[1]].run(sys.argv[2])
"""

for _name in WAITING:
    del globals()[_name]


@pytest.fixture
def bus_url(pubsub):
    return pubsub.url


@pytest.fixture(scope="module", autouse=True)
def side_by_side(request, pubsub):
    """Run those of `WAITING` that this session asks for, a few at a time; give what will be known of each.

    Where another process of the tests has asked for the last of them, nobody waits for those that still run here.
    """
    asked = [
        item.callspec.params["name"] for item in request.session.items if item.name.startswith("test_waiting_claim")
    ]
    processes = []
    with ThreadPoolExecutor(TOGETHER) as pool:
        yield {name: pool.submit(_run, name, pubsub.url, processes) for name in asked}
        pool.shutdown(wait=False, cancel_futures=True)
        for process in (one for one in processes if one.returncode is None):
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)  # its own, some of which it may have frozen, with it


def _run(name, url, processes):
    """Run one claim in a process, and return its exit status and what it printed."""
    command = [sys.executable, "-c", PROGRAM, name, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True) as process:
        processes.append(process)
        printed, _ = process.communicate()
    return process.returncode, printed


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", WAITING)
def test_waiting_claim_holds(side_by_side, pubsub, name):
    assert name in CLAIMS
    running = side_by_side.pop(name, None)  # none where this is the second try, which is to be one
    status, printed = running.result() if running else _run(name, pubsub.url, [])
    assert status == 0, printed
