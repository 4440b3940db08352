"""The tests that every driver passes, one or more for each promise of messaging.

A test module of a few lines runs them all on a driver:

    import pytest
    from visionbus.messaging.conformance import *

    @pytest.fixture
    def bus_url():
        return "mybus://localhost"

No plugin is needed. Where a driver knowingly lacks a promise, its `flags` say so, and the promise's tests are skipped;
see `docs/drivers.md`.
"""

from importlib import import_module

import pytest

_MODULES = (
    "batches",
    "cancellation",
    "content",
    "crew",
    "dead_letters",
    "kills",
    "leases",
    "life",
    "limits",
    "order",
    "sending",
    "settling",
    "sharing",
)
_NAMES = [f"{__name__}.{module}" for module in _MODULES]
pytest.register_assert_rewrite(*_NAMES)
for _name in _NAMES:
    import_module(_name)

from visionbus.messaging.conformance.promises import CLAIMS, PROMISES, promise  # noqa: E402 (after the rewriting)
from visionbus.messaging.conformance.trial import Trial  # noqa: E402

globals().update({name: claim.run for name, claim in CLAIMS.items()})
__all__ = ["CLAIMS", "PROMISES", "Trial", "promise", *CLAIMS]  # noqa: PLE0604 (names of tests)
