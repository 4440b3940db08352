"""Names and limits, the same on every bus (promises 1 and 11 lean on them)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import WORKERS, contents, finish, fresh_name
from visionbus.messaging.errors import NotFoundError
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial

BAD_CHARACTERS = ("a b c", "\u00e9tudes", "a/b", "topic\n")
BAD_TOPICS = ("", "ab", "1st", "-topic", ".topic", "_topic", "googol", "t" * 101, *BAD_CHARACTERS)
BAD_SUBSCRIPTIONS = (*BAD_TOPICS, "with.dot")


@promise(11)
async def test_names_of_all_allowed_forms_work(trial: Trial) -> None:
    unique = uuid.uuid4().hex
    bus = await trial.bus()
    for topic in (f"T{unique}", f"a.B_c-9.{unique}", f"go.{unique}".ljust(100, "x")):
        for subscription in ("abc", "Z-_9", "s" * 100):
            await bus.declare(topic, subscription)
        await bus.send(topic, Message(b"data"))
        assert contents(await finish(await trial.receiver(topic, "s" * 100), 1)) == [b"data"]


@promise(11)
async def test_topic_names_that_some_broker_refuses_are_refused(trial: Trial) -> None:
    bus = await trial.bus()
    for name in BAD_TOPICS:
        with pytest.raises(ValueError, match="not a valid name"):
            await bus.declare(name)
        with pytest.raises((ValueError, NotFoundError)):
            await bus.subscribe(name, WORKERS).__aenter__()


@promise(11)
async def test_subscription_names_that_some_broker_refuses_are_refused(trial: Trial) -> None:
    bus = await trial.bus()
    name = fresh_name()
    for subscription in BAD_SUBSCRIPTIONS:
        with pytest.raises(ValueError, match="not a valid name"):
            await bus.declare(name, subscription)
        with pytest.raises(ValueError, match="not a valid name"):
            bus.subscribe(name, subscription)
    with pytest.raises(NotFoundError):
        await bus.send(name, Message(b"nothing was declared"))


@promise(11)
async def test_topics_of_dead_letters_are_not_declared_by_hand(trial: Trial) -> None:
    bus = await trial.bus()
    with pytest.raises(ValueError, match=r"'\.dead'"):
        await bus.declare(f"{fresh_name()}.{WORKERS}.dead", WORKERS)
