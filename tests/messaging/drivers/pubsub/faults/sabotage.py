"""Ways to break a guarantee of the Pub/Sub driver on purpose, in one driver."""

import asyncio
import os

from google.pubsub_v1.types import pubsub
from grpc import RpcError, aio


def attached(driver, change):
    """Have each subscription of a driver changed when it is attached."""
    honest = driver.attach

    async def attach(*names, **options):
        receiver = await honest(*names, **options)
        change(receiver)
        return receiver

    driver.attach = attach


def say_acks_once(driver):
    """Say it once, and show what comes again therefore."""

    def change(receiver):
        forget(receiver)
        honest = receiver._acks._call

        async def call(method, request, timeout):
            try:
                return await honest(method, request, timeout)
            except RpcError:
                return None

        receiver._acks._call = call

    attached(driver, change)


def confirm_what_failed(driver):
    honest = driver._connection.publish

    async def publish(topic, messages, timeout):
        try:
            return await honest(topic, messages, timeout)
        except RpcError:
            count = len(pubsub.PublishRequest.pb().FromString(messages).messages)
            return pubsub.PublishResponse.pb()(message_ids=["1"] * count)

    driver._connection.publish = publish


def leave_streams_broken(driver):
    honest = driver._connection.stream

    async def stream(path):
        if opened:
            await asyncio.Event().wait()
        opened.append(path)
        return await honest(path)

    opened = []
    driver._connection.stream = stream


def trust_silent_connections(driver):
    """Receive over connections that nobody asks for a sign of life."""
    honest = driver.attach

    async def attach(*names, **options):
        connection = driver._connection
        connection._channel = aio.insecure_channel(
            connection._settings.emulator, [("grpc.use_local_subchannel_pool", 1)]
        )
        connection._process = os.getpid()
        return await honest(*names, **options)

    driver.attach = attach


def forget_what_was_acked(driver):
    attached(driver, forget)


def forget(receiver):
    receiver._holding._acked = Forgetful()


class Forgetful:
    def among(self, _):
        return {}

    def add(self, _):
        return None


def ask_without_limits(driver):
    def change(receiver):
        for limit in ("most", "most_bytes"):
            object.__setattr__(receiver._streams._pull, limit, 0)
        for stream in receiver._streams._running.values():
            stream._call.cancel()  # the next one asks so

    attached(driver, change)
