import re
import signal
import subprocess

import pytest

from visionbus.service.process import Specification
from visionbus.service.supervisor import Supervisor, cores
from visionbus.vision.onnx import default_model


@pytest.fixture
def supervisors(monkeypatch):
    """The supervisors that the command makes; they start no process."""
    made = []

    async def run(self, stop):
        made.append(self)
        self.verdicts.close()

    monkeypatch.setattr(Supervisor, "run", run)
    return made


def test_each_option_is_heeded(run, supervisors, tmp_path):
    model = tmp_path / "model.onnx"
    model.touch()
    words = ["--bus", "sqlite:///my.db", "--model", model, "--topic", "mine", "--processes", "3"]
    shown = run("worker", *words, "--ack-deadline", "2.5", "--batch", "7", "--stuck", "30")
    assert (shown.status, shown.err) == (0, "workers ended\n")
    (one,) = supervisors
    assert one.specification == Specification("sqlite:///my.db", str(model), "mine", 2.5, 7)
    assert (len(one._workers), one.stuck) == (3, 30.0)


def test_without_options_it_is_the_shipped_model_in_a_process_per_core(run, supervisors, monkeypatch):
    monkeypatch.delenv("VISIONBUS_URL", raising=False)
    assert run("worker").status == 0
    (one,) = supervisors
    assert one.specification == Specification("sqlite:///visionbus.db", str(default_model()))
    assert len(one._workers) == cores()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--processes", "0"),
        ("--ack-deadline", "0.5"),
        ("--batch", "1025"),
        ("--stuck", "0"),
        ("--model", "missing.onnx"),
    ],
)
def test_value_out_of_range_is_wrong_usage(run, supervisors, option, value):
    shown = run("worker", option, value)
    assert shown.status == 2
    assert option in shown.err
    assert not supervisors


@pytest.mark.slow
def test_workers_say_that_they_are_ready_and_end_on_sigterm_and_nothing_else(visionbus, tmp_path):
    command = [*visionbus, "worker", "--processes", "2", "--bus", f"sqlite:///{tmp_path}/bus.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ready = sorted(process.stderr.readline() for _ in range(2))
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=30)
    assert [re.sub(r"\d+\)", "N)", line) for line in ready] == [
        "worker 1 ready (process N)\n",
        "worker 2 ready (process N)\n",
    ]
    assert (process.returncode, out, said) == (0, "", "workers ended\n")


@pytest.mark.slow
def test_model_that_is_none_ends_it_with_one_line(visionbus, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    command = [*visionbus, "worker", "--processes", "2", "--model", model, "--bus", f"sqlite:///{tmp_path}/bus.db"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"visionbus: error: {model} is no")
