"""What the commands share that run a broker until they are told to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from visionbus.cli.errors import TERMINATED
from visionbus.cli.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Broker(Protocol):
    """What runs in processes of ours."""

    def check(self) -> None: ...


def run_until_told(broker: Broker, announce: Callable[[], None]) -> None:
    """Say that it is ready, and wait for a signal to end; raise `StartError` if a process of the broker ends before."""
    asyncio.run(_until_told(broker, announce))


async def _until_told(broker: Broker, announce: Callable[[], None]) -> None:
    from visionbus.brokers.errors import StartError  # noqa: PLC0415 (--help does not wait for it)

    with stop_on_signals() as stop:

        def look() -> None:
            try:
                broker.check()
            except StartError:
                stop.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, look)
        look()  # one may have ended just before
        announce()  # now that signals are heard
        sys.stdout.flush()
        await stop.wait()
    broker.check()


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end the program in good order, while nothing else takes it: its processes first."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(fact: str) -> None:
    """Tell the user, beside what the command prints."""
    click.echo(fact, err=True)
