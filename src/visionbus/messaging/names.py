"""What topics and subscriptions may be called, the same on every bus."""

from __future__ import annotations

import re

DEAD = ".dead"  # how the topic of a subscription's dead letters ends
DEAD_LETTERS = "dead-letters"  # the subscription that every dead-letter topic has from the start
LONGEST_DERIVED = 249  # Kafka's limit; Pub/Sub's is 255

_TOPIC = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._-]{2,99}", re.ASCII)
_SUBSCRIPTION = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9_-]{2,99}", re.ASCII)


def topic_fault(topic: str) -> str | None:
    """Return why a new topic cannot have this name; None if it can."""
    if not _TOPIC.fullmatch(topic):
        return (
            f"topic {topic!r} is not a valid name: use 3 to 100 letters, digits, '.', '_' and '-', "
            "beginning with a letter and not with 'goog'"
        )
    if is_dead_letter_topic(topic):
        return (
            f"topic {topic!r} ends in {DEAD!r}, which is reserved for dead letters: choose another name, "
            "or declare the subscription whose dead letters it is to hold"
        )
    return None


def check_subscription(subscription: str) -> None:
    """Raise `ValueError` if a subscription cannot have this name."""
    if not _SUBSCRIPTION.fullmatch(subscription):
        msg = (
            f"subscription {subscription!r} is not a valid name: use 3 to 100 letters, digits, '_' and '-', "
            "beginning with a letter and not with 'goog'"
        )
        raise ValueError(msg)


def is_dead_letter_topic(topic: str) -> bool:
    """Return whether a topic holds dead letters."""
    return topic.endswith(DEAD)


def dead_letter_topic(topic: str, subscription: str) -> str | None:
    """Return the name of the topic for a subscription's dead letters; None for subscriptions of dead letters.

    Raises `ValueError` if the derived name is too long for some broker.
    """
    if is_dead_letter_topic(topic):
        return None
    derived = f"{topic}.{subscription}{DEAD}"
    if len(derived) > LONGEST_DERIVED:
        raise ValueError(
            f"the dead-letter topic {derived!r} would have {len(derived)} characters, more than {LONGEST_DERIVED}: "
            "choose a shorter subscription name"
        )
    return derived
