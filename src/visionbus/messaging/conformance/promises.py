"""The twelve promises of messaging, and how a test backs one."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING

import pytest

from visionbus.messaging.conformance.trial import Trial
from visionbus.messaging.driver import Address, driver_class

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PROMISES = {
    1: "A message comes out equal to what went in.",
    2: "A subscription gets every message sent after it was declared, whether a receiver is there or not.",
    3: "Each subscription of a topic gets all; receivers of one subscription share them.",
    4: "`send` returns once the broker holds all; otherwise it says which are unconfirmed, and why.",
    5: "Acked: never again to that subscription, in whatever order acks come; acked twice is harmless.",
    6: "Nacked: again, after its delay. A living receiver keeps its messages; a dead or frozen one loses them.",
    7: "Nothing is lost when receivers close, are cancelled, are killed, or come and go.",
    8: "Messages of one key arrive in order, and are in flight at one receiver at a time.",
    9: "After `max_attempts` a message is a dead letter; deaths, closing and prefetching count no attempt.",
    10: "`receive` returns with the first message; what is in flight and in memory is bounded; nothing busy-waits.",
    11: "Undeclared: `NotFoundError`. Closed: `ClosedError`. Declaring twice, or by two at once, is as once.",
    12: "`close` sends the acks that it holds and gives back the rest at once; it takes seconds.",
}
SEED = "VISIONBUS_CONFORMANCE_SEED"  # the environment variable that repeats a run


@dataclass(frozen=True, slots=True)
class Claim:
    """One test: the promises that it backs, whether it takes over a second, and the function that pytest runs."""

    promises: tuple[int, ...]
    slow: bool
    run: Callable[[str], None]


CLAIMS: dict[str, Claim] = {}  # by the test's name; filled as the modules of this package are imported


def promise(
    *numbers: int, slow: bool = False, processes: bool = False, patience: float = 30.0
) -> Callable[[Callable[[Trial], Coroutine[object, object, None]]], Callable[[str], None]]:
    """Make a test of a coroutine function: it backs the promises of these numbers on the bus that `bus_url` names.

    It is skipped for a driver that lacks one of them (`Driver.flags`), and with `processes` for one whose messages do
    not leave the process (`Driver.across_processes`). `patience` (seconds) is how long it may take beside the leases
    that it waits for. A failure names the seed of its random choices.
    """

    def make(body: Callable[[Trial], Coroutine[object, object, None]]) -> Callable[[str], None]:
        def test(bus_url: str) -> None:
            _skip_what_is_lacking(bus_url, numbers, processes=processes)
            seed = int(os.environ.get(SEED) or secrets.randbits(32))
            try:
                asyncio.run(_run(body, Trial(bus_url, seed, patience)))
            except Exception as error:
                error.add_note(f"{SEED}={seed} repeats the random choices of this run")
                raise

        if body.__name__ in CLAIMS:
            raise ValueError(f"two conformance tests are called {body.__name__}")
        update_wrapper(test, body)
        del test.__wrapped__  # type: ignore[attr-defined]  # pytest is to see the argument of this function
        CLAIMS[body.__name__] = Claim(numbers, slow, test)
        return test

    return make


async def _run(body: Callable[[Trial], Coroutine[object, object, None]], trial: Trial) -> None:
    try:
        async with trial:
            await body(trial)
    except TimeoutError as error:
        raise AssertionError("what was promised did not happen within the time limit") from error


def _skip_what_is_lacking(url: str, numbers: tuple[int, ...], *, processes: bool) -> None:
    scheme = Address.parse(url).scheme
    driver = driver_class(scheme)
    for number in numbers:
        if str(number) in driver.flags:
            pytest.skip(f"the driver of {scheme}:// lacks promise {number}: {PROMISES[number]}")
    if processes and not driver.across_processes:
        pytest.skip(f"{scheme}:// lives in one process, and this test takes several")


def listing() -> str:
    """Return a page in Markdown: each promise, and the names of the tests that back it."""
    source = "Written by `python -m visionbus.messaging.conformance`; see [messaging.md](messaging.md)."
    parts = [f"# The promises and their tests\n\n{source}\n"]
    for number, text in PROMISES.items():
        names = [f"- `{name}`\n" for name, claim in CLAIMS.items() if number in claim.promises]
        parts.append(f"\n## {number}. {text}\n\n{''.join(names)}")
    return "".join(parts)
