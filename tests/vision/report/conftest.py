"""Reports about small models, and a real Chromium that looks at them, driven through its debugging pipe."""

import base64
import importlib.util
import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visionbus.vision import Dataset, Input
from visionbus.vision.datasets import TrainingData
from visionbus.vision.onnx import OnnxModel
from visionbus.vision.report import Measured, speed, write_report

CLASSES = ("circle", "square", "triangle")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # root, as in containers, cannot have one; the pages are our own and forbid scripts
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


def _script():
    """Load scripts/chromium.py, by which the set-up installs Chromium."""
    path = Path(__file__).parents[3] / "scripts" / "chromium.py"
    spec = importlib.util.spec_from_file_location("chromium", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page:
    """A page in the browser, and what it has done since it was opened."""

    def __init__(self, reading, writing):
        self._reading, self._writing = reading, writing
        self._buffer, self._number, self._session, self._url = b"", 0, None, ""
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self):
        while b"\0" not in self._buffer:
            part = os.read(self._reading, 1 << 16)
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path, *, width=1280, dark=False, media="screen"):
        """Load a file; what the page before it has done is forgotten."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1 + phone, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self._url = path.as_uri()
        self.call("Page.navigate", url=self._url)
        while not self._of("Page.loadEventFired"):
            self.events.append(self._next())

    def evaluate(self, expression):
        """Return the value of a JavaScript expression; the page itself may run none."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    @property
    def requests(self):
        """The URLs that were asked for, but for the page's own and what it holds."""
        asked = [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        return [url for url in asked if not url.startswith("data:") and url != self._url]

    @property
    def complaints(self):
        """What the page wrote on the console, and what the browser wrote about it."""
        return self._of("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")

    def _of(self, *methods):
        return [event for event in self.events if event.get("method") in methods]

    def screenshot(self, **clip):
        """Return a PNG of a part of the page, given by x, y, width and height."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1})
        return base64.b64decode(taken["data"])

    def pdf(self):
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def start(path, folder):
    """Start the Chromium at `path` with a profile of its own in `folder`; yield a page; end it."""
    reading, to_page = os.pipe()
    to_browser, writing = os.pipe()
    process = subprocess.Popen(  # Chromium reads from 3 and writes to 4
        ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{to_page}', "bash", path, *_FLAGS, f"--user-data-dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_browser, to_page),
    )
    os.close(to_browser)
    os.close(to_page)
    try:
        yield Page(reading, writing)
    finally:
        process.terminate()
        process.wait(10)
        os.close(reading)
        os.close(writing)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A page in a real browser; without one its tests are skipped, and in CI they fail where it can be installed."""
    script = _script()
    path = script.find()
    if path is None:
        reason = "there is no Chromium, so nobody LOOKS at the report: apt-get install chromium"
        if os.environ.get("CI") == "true" and script.can_install():
            pytest.fail(reason)
        pytest.skip(reason)
    with start(path, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def hostile():
    """Names that somebody may give to classes and files."""
    return (
        "<script>alert(1)</script>",
        "\" onmouseover='alert(2)' x=\"",
        "new\nline\tand\rtab",
        "</style><img src=x onerror=alert(3)>",
        "👩‍👩‍👧 party 🎉",
        "עברית وعربي \u202egnp.exe",
        "x" * 300,
        "{{ 7 * 7 }} {% raw %} & &amp; ]]>",
    )


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Measure the speed no longer than need be: these tests ask only that it is shown."""
    monkeypatch.setattr(speed, "_SECONDS", 0.0)


@pytest.fixture
def model(write_model, make_graph):
    """Write a model, for images of 4 x 6 grey pixels by default, and load it; keywords replace metadata."""

    def load(classes=CLASSES, *, shape=(4, 6, 1), **changes):
        graph = make_graph(len(classes), shape=("n", *shape))
        return OnnxModel(write_model(model=graph, classes=list(classes), input=spec_of(shape).to_json(), **changes))

    return load


def spec_of(shape):
    return Input(*shape[:2], "L" if shape[2] == 1 else "RGB")


@pytest.fixture
def measure():
    """Make data of noise, and what a model says of its test split: right `accuracy` of the time, and rather sure."""

    def measured(classes, images=60, *, accuracy=0.8, shape=(4, 6, 1), names=True, **changes):
        random = np.random.default_rng(0)
        labels = np.arange(images) % len(classes)
        pixels = random.integers(0, 256, (images, *shape), dtype=np.uint8)
        called = tuple(f"{classes[label]}/{number}" for number, label in enumerate(labels)) if names else ()
        dataset = Dataset(pixels, labels, tuple(classes), called)
        wrong = random.random(images) >= accuracy
        logits = random.normal(0, 1, (images, len(classes))).astype(np.float32)
        logits[np.arange(images), (labels + wrong) % len(classes)] += 6
        data = TrainingData("noise", spec_of(shape), dataset, dataset, **changes)
        return data, Measured(dataset, logits, "test")

    return measured


@pytest.fixture
def write(model, measure, tmp_path):
    """Write a report; give its path."""

    def written(classes=CLASSES, *, about=None, note="", command="visionbus evaluate", **changes):
        data, measured = measure(classes, **changes)
        path = tmp_path / "report.html"
        about = about or model(classes, shape=data.train.images.shape[1:])
        write_report(path, about, data, replace(measured, note=note), command=command)
        return path

    return written
