"""Drives a real headless Chromium through its debugging pipe: no network, no driver, no library."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # root, as in containers, cannot have one; the pages are our own and forbid scripts
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


def find():
    """Return the path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page in the browser, and what it did since it was opened."""

    def __init__(self, reading, writing):
        self._reading, self._writing = reading, writing
        self._buffer, self._number, self._session = b"", 0, None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
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

    def open(self, path, *, width=1280, height=900, dark=False, media="screen"):
        """Load a file; the events of the page before are forgotten."""
        self.events.clear()
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + phone, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression):
        """Return the value of a JavaScript expression in the page, which itself may run none."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def requests(self):
        """Return the URLs that were asked for, but for the page's own and those that hold their data."""
        asked = [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]
        return [url for url in asked if not url.startswith(("data:", "file:"))]

    def complaints(self):
        """Return what the page wrote on the console, and what the browser wrote about it."""
        logged = [event["params"]["entry"]["text"] for event in self._of("Log.entryAdded")]
        thrown = [str(event["params"]) for event in self._of("Runtime.exceptionThrown", "Runtime.consoleAPICalled")]
        return logged + thrown

    def _of(self, *methods):
        return [event for event in self.events if event.get("method") in methods]

    def screenshot(self, *, clip=None, whole=True, kind="png"):
        clip = {"clip": {**clip, "scale": 1}} if clip else {}
        taken = self.call("Page.captureScreenshot", format=kind, captureBeyondViewport=whole, **clip)
        return base64.b64decode(taken["data"])

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def browser(path, folder):
    """Start the Chromium at `path` with a profile of its own in `folder`; yield a page; end it."""
    from_browser, to_page = os.pipe()
    to_browser, from_page = os.pipe()

    process = subprocess.Popen(  # Chromium reads from 3 and writes to 4
        ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{to_page}', "bash", path, *_FLAGS, f"--user-data-dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_browser, to_page),
    )
    os.close(to_browser)
    os.close(to_page)
    try:
        yield Page(from_browser, from_page)
    finally:
        process.terminate()
        process.wait(10)
        os.close(from_browser)
        os.close(from_page)
