"""What the tests of the Pub/Sub driver share: coroutines as tests, names, and the tests' own server."""

import asyncio
import inspect
import sys
import uuid
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # `server`, `service` and `leasing` are no tests


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test that is a coroutine on an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


@pytest.fixture
def topic():
    """A name that nobody else uses."""
    return f"images-{uuid.uuid4().hex}"
