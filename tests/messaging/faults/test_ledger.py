"""The checker of the fault tests: whatever does not add up is found."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from ledger import Ledger

SENT = {"1", "2", "3"}


def settled(**changes):
    """Make the ledger of a run in which all went well, but for what is changed."""
    good = {
        "offered": SENT | {"unconfirmed", "bad-4"},
        "confirmed": SENT | {"bad-4"},
        "doomed": {"bad-4"},
        "received": SENT | {"bad-4"},
        "acked": SENT,
        "sound_acks": Counter(SENT),
        "dead": {"bad-4"},
    }
    return Ledger(**good | changes)


def test_run_in_which_all_is_settled_holds():
    verdict = settled().verdict(may_repeat=False)
    assert verdict.holds, verdict


def test_what_the_sender_was_not_told_may_come_or_not():
    came = settled(received=SENT | {"unconfirmed", "bad-4"}, acked=SENT | {"unconfirmed"})
    assert came.verdict(may_repeat=False).holds


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("lost", {"acked": {"1", "2"}}),
        ("lost", {"dead": set()}),
        ("unsettled", {"acked": {"1", "2"}, "sound_acks": Counter("12"), "left": {"3"}}),
        ("unsettled", {"dead": set(), "left": {"bad-4"}}),
        ("unknown", {"received": SENT | {"stranger"}}),
        ("unknown", {"dead": {"bad-4", "bad-5"}}),
        ("buried", {"dead": {"bad-4", "3"}}),
        ("returned", {"left": {"3"}}),
        ("repeated", {"sound_acks": Counter("1223")}),
        ("withheld", {"withheld": {"1"}}),
    ],
)
def test_each_fault_is_found(fault, changes):
    verdict = settled(**changes).verdict(may_repeat=False)
    assert getattr(verdict, fault)
    assert not verdict.holds
    assert f"{fault} 1" in str(verdict)


def test_acks_of_receivers_that_came_to_harm_may_be_repeated():
    assert settled(acked=SENT, sound_acks=Counter("12"), left={"3"}).verdict(may_repeat=False).holds


def test_repeated_acks_are_allowed_where_brokers_die():
    assert settled(sound_acks=Counter("1223")).verdict(may_repeat=True).holds
