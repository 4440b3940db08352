import asyncio
import inspect
import itertools
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # the fake models, which worker processes import as well
_topics = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run tests that are coroutines."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = inspect.signature(function).parameters
    asyncio.run(function(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def topic():
    """A prefix of its own: memory:// is one bus for all tests."""
    return f"system-{next(_topics)}"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path):
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bus.db"


@pytest.fixture
def png():
    """The bytes of a PNG file of uint8 [h, w] or [h, w, 3]."""

    def encode(pixels):
        file = BytesIO()
        Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
        return file.getvalue()

    return encode
