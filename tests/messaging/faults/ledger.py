"""Ledger: what was sent, acked and dead-lettered while something was broken, and whether that adds up."""

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Verdict:
    """What does not add up; nothing of it may be."""

    lost: frozenset[str]  # confirmed to its sender, and neither acked nor dead-lettered by anybody, nor still there
    unsettled: frozenset[str]  # still there: nobody had settled it in the time that there was
    unknown: frozenset[str]  # received, but never sent
    buried: frozenset[str]  # dead-lettered, though no handler failed at it
    returned: frozenset[str]  # acked, by a receiver that came to no harm, and still there
    repeated: frozenset[str]  # acked twice by such receivers
    withheld: frozenset[str]  # not given to the others while one stood still

    @property
    def holds(self):
        return not any(getattr(self, one.name) for one in fields(self))

    def __str__(self):
        def told(name):
            data = sorted(getattr(self, name))
            return f"{name} {len(data)}{f': {data[:3]} ...' if data else ''}"

        return ", ".join(told(one.name) for one in fields(self))


@dataclass
class Ledger:
    """All that is known of the messages of one topic and subscription, each named by its data."""

    offered: set[str] = field(default_factory=set)  # given to a sender: it may be there
    confirmed: set[str] = field(default_factory=set)  # it must be there
    doomed: set[str] = field(default_factory=set)  # every handler fails at these
    received: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)  # while it was leased to whoever acked it
    sound_acks: Counter[str] = field(default_factory=Counter)  # those of receivers that came to no harm
    dead: set[str] = field(default_factory=set)  # in the dead-letter topic
    left: set[str] = field(default_factory=set)  # came to the auditor, after all others had ended
    withheld: set[str] = field(default_factory=set)

    def unacked(self):
        """Give what somebody has still to ack."""
        return self.confirmed - self.acked - self.doomed

    def verdict(self, *, may_repeat):
        """Judge; `may_repeat`: commits may have failed for reasons that are no receiver's."""
        settled = self.acked | self.dead
        sound = set(self.sound_acks)
        twice = {data for data, times in self.sound_acks.items() if times > 1}
        return Verdict(
            lost=frozenset(self.confirmed - settled - self.left),
            unsettled=frozenset(self.left - settled),
            unknown=frozenset((self.received | settled | self.left) - self.offered),
            buried=frozenset(self.dead - self.doomed),
            returned=frozenset(self.left & sound),
            repeated=frozenset() if may_repeat else frozenset(twice),
            withheld=frozenset(self.withheld),
        )
