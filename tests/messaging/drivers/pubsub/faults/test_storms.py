"""Whatever the server does, every message is settled by somebody: 10,000 of them in each storm, a few storms at once.

Each storm is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from visionbus.messaging.drivers.pubsub import connection, stream

sys.path.append(str(Path(__file__).parent))
import sabotage
import storms
from fleet import seed_of_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(330)]

FEW = 2_000  # messages are enough to find out what is broken
TOGETHER = 5
STORMS = (
    storms.streams_break,
    storms.streams_fall_silent,
    storms.connections_fall_silent,
    storms.publishes_fail,
    storms.acks_fail,
    storms.server_is_away,
    storms.messages_repeat,
    storms.limits_hold,
)
SABOTAGES = (  # what must be found, where it must be found, and what breaks it
    ("unsettled", storms.streams_break, sabotage.leave_streams_broken),
    ("unsettled", storms.server_is_away, sabotage.leave_streams_broken),
    ("unsettled", storms.connections_fall_silent, sabotage.trust_silent_connections),
    ("lost", storms.publishes_fail, sabotage.confirm_what_failed),
    ("repeated", storms.acks_fail, sabotage.say_acks_once),
    ("repeated", storms.messages_repeat, sabotage.forget_what_was_acked),
    ("withheld", storms.limits_hold, sabotage.ask_without_limits),
)


def name(one):
    return getattr(one, "__name__", one)


@pytest.fixture(scope="module")
def quickly():
    """Let the driver notice in seconds what it notices within a minute otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", "is set by each traffic")
        patch.setattr(stream, "SILENCE", 3.0)
        patch.setattr(connection, "EMULATED", 600.0)  # our server is as the service, which no stream need outwit
        patch.setattr(connection, "RENEWED", 600.0)
        patch.setattr(stream, "LEAVE", 1.0)
        kept = dict(connection._OPTIONS) | {"grpc.keepalive_time_ms": 2000, "grpc.http2.ping_timeout_ms": 3000}
        patch.setattr(connection, "_OPTIONS", tuple(kept.items()))
        yield


@pytest.fixture(scope="module")
def outcomes(quickly):
    """Give the outcome of each storm, honest or sabotaged, run side by side: much of their time is waiting.

    All at once they would keep their event loop so busy, where other work goes on, that acks come too late for leases.
    """
    seed = seed_of_run()

    async def run_all():
        free = asyncio.Semaphore(TOGETHER)

        async def in_turn(run):
            async with free:
                return await run

        runs = {storm: storms.run(storm, seed) for storm in STORMS}
        for fault, storm, act in SABOTAGES:
            quiet = storms.SOON if fault in ("unsettled", "lost") else storms.QUIET
            runs[storm, act] = storms.run(storm, seed, sabotage=act, messages=FEW, quiet=quiet)
        outcomes = await asyncio.gather(*map(in_turn, runs.values()), return_exceptions=True)
        return dict(zip(runs, outcomes, strict=True))

    return asyncio.run(run_all())


def outcome_of(outcomes, one):
    if isinstance(outcomes[one], BaseException):
        raise outcomes[one]
    return outcomes[one]


@pytest.mark.parametrize("storm", STORMS, ids=name)
def test_storm_takes_nothing_with_it(outcomes, storm):
    verdict, traffic = outcome_of(outcomes, storm)
    assert verdict.holds, verdict
    sent = {str(number) for number in range(traffic.messages)}
    assert traffic.ledger.confirmed == sent
    assert traffic.ledger.acked | traffic.ledger.dead == sent


@pytest.mark.parametrize(("fault", "storm", "act"), SABOTAGES, ids=name)
def test_broken_guarantee_is_found_out(outcomes, fault, storm, act):
    verdict, _ = outcome_of(outcomes, (storm, act))
    assert getattr(verdict, fault), verdict
