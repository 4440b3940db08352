import pytest

from visionbus.messaging.conformance import CLAIMS


def pytest_collection_modifyitems(items):
    for item in items:
        claim = CLAIMS.get(item.originalname)
        if claim and claim.slow:
            item.add_marker(pytest.mark.slow)
