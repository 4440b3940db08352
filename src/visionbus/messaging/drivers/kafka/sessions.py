"""How long a receiver may be silent before its group takes its partitions away: asked for, and brought into force."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from visionbus.messaging.errors import MessagingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visionbus.messaging.drivers.kafka.admin import Admin

log = logging.getLogger(__name__)

SPREAD = 3.0  # seconds that a changed setting may take to come into force
LOOK_AGAIN = 0.02  # seconds
_TIMEOUT = "consumer.session.timeout.ms"
_HEARTBEAT = "consumer.heartbeat.interval.ms"
# Of brokers from 4.3: receivers that come within it wait a heartbeat longer.
_ASSIGNMENT = "consumer.assignment.interval.ms"


async def classic(admin: Admin, wanted: float) -> float:
    """Return the session time-out (seconds) nearest to the wanted one that brokers allow to a member."""
    settings = await _broker_settings(admin)
    return _clamped(wanted, settings, "group.min.session.timeout.ms", "group.max.session.timeout.ms", (6000, 1_800_000))


async def of_group(admin: Admin, group: str, wanted: float) -> float:
    """Set the session time-out (seconds) of a KIP-848 group as near to the wanted one as brokers allow.

    It is the group's: the last one that asks sets it for all members. Returns the value in force, which is the one from
    before where the permission to change it lacks.
    """
    settings = await _broker_settings(admin)
    timeout = _clamped(
        wanted,
        settings,
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
        (45_000, 60_000),
    )
    heartbeat = _clamped(
        heartbeat_interval(timeout),
        settings,
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
        (5000, 15_000),
    )
    asked = {_TIMEOUT: _milliseconds(timeout), _HEARTBEAT: _milliseconds(heartbeat)}
    try:
        settings = settings | await admin.group_settings(group)
        if _ASSIGNMENT in settings:
            asked[_ASSIGNMENT] = "0"
        if asked.items() <= settings.items():
            return timeout
        await admin.set_group(group, asked)
        return await _in_force(admin, group, asked)
    except MessagingError as error:
        in_force = int(settings.get(_TIMEOUT) or settings.get(f"group.{_TIMEOUT}") or 45_000) / 1000
        log.info("the session time-out of the group %s stays at %g s: %s", group, in_force, error)
        return in_force


def heartbeat_interval(timeout: float) -> float:
    """Return how often to send heartbeats (seconds): members learn of a rebalance by the answers."""
    return min(timeout / 10, 0.5)


async def _in_force(admin: Admin, group: str, asked: Mapping[str, str]) -> float:
    now = asyncio.get_running_loop().time
    give_up = now() + SPREAD
    while True:
        settings = await admin.group_settings(group)
        if asked.items() <= settings.items() or now() > give_up:
            return int(settings.get(_TIMEOUT, asked[_TIMEOUT])) / 1000
        await asyncio.sleep(LOOK_AGAIN)


async def _broker_settings(admin: Admin) -> dict[str, str]:
    try:
        return await admin.broker_settings()
    except MessagingError as error:
        log.info("the limits of session time-outs are taken to be Kafka's defaults: %s", error)
        return {}


def _clamped(wanted: float, settings: Mapping[str, str], low: str, high: str, default: tuple[int, int]) -> float:
    least, most = (
        int(settings.get(name, fallback)) / 1000 for name, fallback in zip((low, high), default, strict=True)
    )
    return min(max(wanted, least), most)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
