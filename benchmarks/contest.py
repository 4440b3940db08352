"""What the benchmarks of brokers share: messages, contestants in processes of their own, tables of what they took.

A contestant's clock runs from its first call to the end of its last one, and its processor time is that of its own
process, all threads together.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DATA = os.urandom(1000)
KEYS = [f"camera-{number}" for number in range(1000)]

P = ParamSpec("P")
T = TypeVar("T")


def attributes(number: int) -> dict[str, str]:
    """The three attributes of a message: an event's name differs from message to message."""
    return {"ce-id": f"run/{number}", "ce-type": "benchmark", "content-type": "application/octet-stream"}


def in_own_process(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns, called in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *args, **kwargs).result()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a contestant took for so many messages: seconds, processor seconds, and seconds until the first message."""

    messages: int
    seconds: float
    processor: float
    first: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def share(self) -> float:
        """Processor seconds for 100,000 messages."""
        return self.processor / self.messages * 1e5


class Clock:
    """Measures this process, from when it is made."""

    def __init__(self) -> None:
        self._processor = processor()
        self._start = time.perf_counter()
        self._first: float | None = None

    def first(self) -> None:
        """Note the first message; later ones change nothing."""
        if self._first is None:
            self._first = time.perf_counter() - self._start

    def cost(self, messages: int) -> Cost:
        seconds = time.perf_counter() - self._start
        return Cost(messages, seconds, processor() - self._processor, self._first or 0.0)


def processor() -> float:
    """Processor seconds that this process has taken, in all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spread(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}}-{max(values):{form}}"


def head(work: str, where: str, runs: int) -> None:
    """Print what a table is about and where it was measured, and its head."""
    print(f"\n{work}\n{os.cpu_count()} cores, {where}; 1 kB messages with 3 attributes; ", end="")
    print(f"medians of {runs} with their spread; ratios are visionbus to the other, run by run")
    print(
        f"{'client':<27} {'messages':>9} {'messages/s':>10} {'':<17} {'CPU-s/100k':>10} {'':<11} {'first':>6}"
        f" {'rate':>5} {'':<11} {'CPU':>5} {'':<11} goal"
    )


def rows(costs: Mapping[str, Sequence[Cost]], goals: Mapping[str, str]) -> None:
    """Print a row for each client, the first one's ratios to it behind the others."""
    ours = next(iter(costs.values()))
    for client, runs in costs.items():
        rates, shares = [run.rate for run in runs], [run.share for run in runs]
        print(
            f"{client:<27} {runs[0].messages:>9,} {statistics.median(rates):>10,.0f} {spread(rates, ',.0f'):<17}"
            f" {statistics.median(shares):>10.2f} {spread(shares, '.2f'):<11}"
            f" {statistics.median(run.first for run in runs):>5.2f}s",
            end="",
        )
        if runs is not ours:
            rate = [one.rate / other.rate for one, other in zip(ours, runs, strict=True)]
            share = [one.share / other.share for one, other in zip(ours, runs, strict=True)]
            print(
                f" {statistics.median(rate):>5.2f} {spread(rate, '.2f'):<11}"
                f" {statistics.median(share):>5.2f} {spread(share, '.2f'):<11} {goals.get(client, '')}",
                end="",
            )
        print(flush=True)


def trips_table(found: Mapping[str, Sequence[Sequence[float]]], goal: str) -> None:
    """Print p50 and p99 of the runs of each client, each a list of seconds, and the first one's p50 to the others'."""
    print(f"{'client':<20} {'p50 (ms)':>8} {'':<11} {'p99 (ms)':>8}")
    middles = {}
    for client, runs in found.items():
        hundredths = [statistics.quantiles(trips, n=100) for trips in runs]
        middles[client] = middle = [one[49] * 1e3 for one in hundredths]
        late = [one[98] * 1e3 for one in hundredths]
        print(f"{client:<20} {statistics.median(middle):>8.2f} {spread(middle, '.2f'):<11}", end="")
        print(f" {statistics.median(late):>8.2f} {spread(late, '.2f')}")
    (first, ours), *others = middles.items()
    for client, theirs in others:
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        print(f"p50, {first} to {client}: {statistics.median(ratios):.3f} ({spread(ratios, '.3f')}); goal: {goal}")


def backlog_table(sizes: Sequence[float]) -> None:
    """Print what became of a receiver's resident size, from tenth to tenth."""
    print(f"from the first tenth to the last: {sizes[-1] - sizes[1]:+.1f} MB, at most {max(sizes) - sizes[1]:+.1f} MB")
    print("goal: flat")
