"""The conformance suite on our own drivers: this is all that a driver's author writes."""

import pytest

from visionbus.messaging.conformance import *  # noqa: F403


@pytest.fixture(params=["memory", "sqlite"])
def bus_url(request, tmp_path):
    return {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/bus.db"}[request.param]
