import re
import signal
import subprocess

import pytest

pytestmark = pytest.mark.slow


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


def test_model_that_is_none_ends_it_with_one_line(visionbus, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    command = [*visionbus, "worker", "--processes", "2", "--model", model, "--bus", f"sqlite:///{tmp_path}/bus.db"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"visionbus: error: {model} is no")
