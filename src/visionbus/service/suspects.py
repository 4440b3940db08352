"""Which requests kill the workers that take them: pure bookkeeping over deaths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

IN_COMPANY = 2  # deaths that make a suspect
ALONE = 3  # deaths of a suspect's worker, with nothing else in process, that show it to be poison
MAX_CASES = 20_000  # requests of which deaths are remembered


@dataclass(slots=True)
class _Case:
    in_company: int = 0
    alone: int = 0


class Suspects:
    """Counts the deaths at which a request was in process, by the name that the broker gave it.

    At two deaths it is a suspect, to be taken alone from then on. A suspect that dies three times alone is poison.
    One that is settled is cleared. Of more than 20,000 requests the longest unseen are forgotten.
    """

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}  # the longest unseen first

    def died(self, requests: Iterable[str], *, alone: bool) -> None:
        """Note what was in process at an unexplained death; `alone`: taken alone, as a suspect is."""
        for name in requests:
            case = self._cases.pop(name, None) or _Case()
            if alone and case.in_company >= IN_COMPANY:
                case.alone += 1
            else:
                case.in_company += 1
            self._cases[name] = case
        while len(self._cases) > MAX_CASES:
            del self._cases[next(iter(self._cases))]

    def settled(self, requests: Iterable[str]) -> None:
        """Clear what was answered or rejected."""
        for name in requests:
            self._cases.pop(name, None)

    @property
    def suspects(self) -> set[str]:
        """To be taken alone."""
        return {name for name, case in self._cases.items() if case.in_company >= IN_COMPANY and case.alone < ALONE}

    @property
    def poison(self) -> set[str]:
        """To be rejected."""
        return {name for name, case in self._cases.items() if case.alone >= ALONE}
