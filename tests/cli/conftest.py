import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from visionbus.cli import main
from visionbus.cli.options import MEMORY_NOTE


@dataclass
class Outcome:
    status: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """Run the command line in this process, where memory:// is one bus."""

    def run_now(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        streams = capsys.readouterr()
        return Outcome(ended.value.code, streams.out, streams.err.replace(f"{MEMORY_NOTE}\n", ""))

    return run_now


@pytest.fixture
def visionbus():
    """The command as a program of its own, to be given to subprocess."""
    return [sys.executable, "-m", "visionbus"]


@pytest.fixture
def images(tmp_path):
    """Write a folder with one subfolder per class: noise, and almost black."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    for name, pixels in (("Bag", noise), ("Ankle boot", noise // 200)):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path
