"""The conformance suite on a real Kafka, by both of its group protocols."""

import pytest

from visionbus.messaging.conformance import *  # noqa: F403


@pytest.fixture(params=["consumer", "classic"])
def bus_url(kafka, request):
    return f"{kafka.url}?group_protocol={request.param}"
