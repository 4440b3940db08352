import json
import sys
from dataclasses import dataclass

import pytest

from visionbus.cli import main


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
        return Outcome(ended.value.code, streams.out, streams.err)

    return run_now


@pytest.fixture
def visionbus():
    """The command as a program of its own, to be given to subprocess."""
    return [sys.executable, "-m", "visionbus"]
