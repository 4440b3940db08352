"""Models without a file, for this process and for worker processes (`fake_models:function`)."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from visionbus.vision import Input

CLASSES = ("dark", "grey", "bright")
KILLER = 255  # first pixel of an image that kills who looks at it
HANGING = 254
FAILING = 253


class Brightness:
    """Says of an image [2, 2] how bright it is, by its last pixel."""

    name = "brightness"
    version = "0123456789ab"
    classes = CLASSES
    input = Input(2, 2, "L")

    def logits(self, batch):
        first = batch[:, 0, 0, 0]
        if (first == FAILING).any():
            raise RuntimeError("this one is too much")
        last = batch[:, 1, 1, 0].astype(np.float32)
        return np.stack([-np.abs(last - centre) / 16 for centre in (0.0, 128.0, 255.0)], axis=1)


class Deadly(Brightness):
    """Kills its process when it sees a killer image, and hangs on a hanging one."""

    def logits(self, batch):
        if (batch[:, 0, 0, 0] == KILLER).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (batch[:, 0, 0, 0] == HANGING).any():
            time.sleep(3600)
        return super().logits(batch)


class Slow(Brightness):
    """Takes its time, so that a kill hits it at work."""

    def logits(self, batch):
        time.sleep(0.002 * len(batch))
        return super().logits(batch)


class Slower(Brightness):
    """Takes so long that a signal finds it at work, however late it is sent."""

    def logits(self, batch):
        time.sleep(0.05 * len(batch))
        return super().logits(batch)


class Stubborn(Brightness):
    """Sleeps for an hour over each real image, and says in a file that it does."""

    def logits(self, batch):
        if batch.any():
            Path(os.environ["BUSY_FILE"]).touch()
            time.sleep(3600)
        return super().logits(batch)


def leaving():
    """End the process before it is ready, without a word."""
    os._exit(7)


def failing():
    raise ValueError("no such model: train one first")


def printing():
    return Brightness()


def offline(images, model=None):
    """Give the labels for uint8 [n, 2, 2], computed without the service."""
    logits = (model or Brightness()).logits(images[..., np.newaxis])
    return [CLASSES[index] for index in logits.argmax(axis=1)]
