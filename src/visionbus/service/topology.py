"""The topics and subscriptions that the parts of one system share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from visionbus.service.wire import ANSWERS, REQUESTS, RESULTS, WORKERS

if TYPE_CHECKING:
    from visionbus.messaging import Bus


@dataclass(frozen=True, slots=True)
class Topology:
    """What a system's topics are called: `<prefix>.requests` and `<prefix>.answers`."""

    prefix: str = "visionbus"

    @property
    def requests(self) -> str:
        """The topic of the requests; workers share its subscription `workers`."""
        return f"{self.prefix}.{REQUESTS}"

    @property
    def answers(self) -> str:
        """The topic of the answers; its subscription `results` feeds the database."""
        return f"{self.prefix}.{ANSWERS}"

    async def declare(self, bus: Bus) -> None:
        """Declare all of them, so that the order in which the parts start never matters."""
        await bus.declare(
            self.answers, RESULTS
        )  # answers first: where there are requests, there is a place for answers
        await bus.declare(self.requests, WORKERS)
