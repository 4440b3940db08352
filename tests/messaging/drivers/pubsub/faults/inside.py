"""What a fleet's programs do inside the Pub/Sub driver: see what is held, and break a guarantee on purpose."""

import time

from visionbus.messaging.drivers.pubsub.acks import Acks
from visionbus.messaging.drivers.pubsub.driver import PubsubDriver
from visionbus.messaging.drivers.pubsub.holding import Holding


def held(receiver, deliveries):
    """Give those that are still this receiver's, as its driver knows it."""
    receiver._attached._expire(time.monotonic())
    return [one for one in deliveries if one.lease in receiver._in_flight]


def ack_on_receipt():
    """Ack what is handed out before it is, and wait until the broker has heard it, as one who auto-acks."""
    honest = PubsubDriver.attach

    async def attach(self, *names, **options):
        receiver = await honest(self, *names, **options)
        fetch = receiver.fetch

        async def fetch_and_ack(room, timeout):
            taken = await fetch(room, timeout)
            receiver._acks.ack([receiver._holding._ack_ids[one.lease] for one in taken])
            await receiver._acks.flush(None)
            return taken

        receiver.fetch = fetch_and_ack
        return receiver

    PubsubDriver.attach = attach


def ack_nothing():
    """Say that it is acked, and not to the broker."""
    Acks.ack = lambda self, ack_ids, *, keyed=False: None


def take_late_acks():
    """Believe to hold whatever was received, however long ago."""
    Holding.expire = lambda self, now: []


SABOTAGES = {act.__name__: act for act in (ack_on_receipt, ack_nothing, take_late_acks)}
