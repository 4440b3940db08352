"""The conformance suite on Google's emulator of Pub/Sub."""

import pytest

from visionbus.messaging.conformance import *  # noqa: F403


@pytest.fixture
def bus_url(pubsub):
    return pubsub.url
