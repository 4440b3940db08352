"""Trainings in several processes, which share each batch."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch")

from torch.multiprocessing.spawn import (  # noqa: E402 (torch may be missing)
    ProcessExitedException,
    ProcessRaisedException,
)

from visionbus.training import DivergedError, Phase, ProcessError, checkpoint, train  # noqa: E402 (the same)
from visionbus.training.job import Job, run  # noqa: E402 (the same)
from visionbus.training.options import Options  # noqa: E402 (the same)
from visionbus.training.plan import Facts, make_plan  # noqa: E402 (the same)
from visionbus.training.processes import _listen, _port_of_its_own, _told, fabric_for, launch, most_devices  # noqa: E402 (the same)
from visionbus.training.sharing import share  # noqa: E402 (the same)
from visionbus.training.stop import Stop  # noqa: E402 (the same)
from visionbus.vision import Dataset, Input, evaluate  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

OPTIONS = {"precision": "fp32", "refit": False, "devices": 2}


def when_kept(path, act):
    """Act, in a thread, as soon as a new checkpoint has a step of a fit."""
    before = path.stat().st_mtime_ns if path.exists() else None

    def watch():
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            if path.exists() and path.stat().st_mtime_ns != before and checkpoint.load(path).current:
                return act()
            time.sleep(0.02)
        raise AssertionError("there was no checkpoint")

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def helpers():
    """Return the processes of the training that this one has started."""
    return [one for one in psutil.Process().children() if any("spawn_main" in word for word in one.cmdline())]


def kill_one():
    helpers()[-1].kill()


def test_two_processes_learn_what_one_does(stripes, tmp_path):
    data, unseen = stripes(300), stripes(300, seed=1)
    found = {}
    for devices in (1, 2):
        (tmp_path / str(devices)).mkdir()
        trained = train(data, tmp_path / str(devices) / "m.onnx", epochs=4, **OPTIONS | {"devices": devices})
        found[devices] = evaluate(trained.model, unseen).accuracy
        assert [epoch.images for epoch in trained.history] == [270] * 4
        assert all(epoch.accuracy <= 1 for epoch in trained.history)  # no image is counted by both
        assert trained.history[-1].validation_accuracy > 0.9
    assert min(found.values()) > 0.93
    assert abs(found[1] - found[2]) < 0.05
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == ["m.html", "m.md", "m.onnx"]
    assert trained.model.provenance["command"].endswith("devices=2, refit=False)")


def test_dead_process_ends_the_training_with_an_error_and_its_checkpoint_goes_on(stripes, tmp_path):
    path = tmp_path / "m.onnx"
    thread = when_kept(checkpoint.path_for(path), kill_one)
    with pytest.raises(ProcessError, match="--resume"):
        train(stripes(300), path, epochs=200, checkpoint_every=0.0, **OPTIONS)
    thread.join()
    assert not helpers()
    kept = checkpoint.load(checkpoint.path_for(path))
    assert kept.current["schedule"]["step"] > 0
    thread = when_kept(checkpoint.path_for(path), lambda: os.kill(os.getpid(), signal.SIGINT))
    trained = train(stripes(300), path, resume=True, checkpoint_every=0.0)  # and Ctrl-C stops all processes
    thread.join()
    assert trained.stopped
    assert not helpers()
    assert checkpoint.load(checkpoint.path_for(path)).current["schedule"]["step"] > kept.current["schedule"]["step"]


@pytest.mark.timeout(400)  # each process is a start of torch
def test_stopped_it_goes_on_to_the_same_file(stripes, tmp_path):
    data, options = stripes(300), {"epochs": 40, **OPTIONS}
    whole, path = tmp_path / "whole" / "m.onnx", tmp_path / "m.onnx"
    whole.parent.mkdir()
    train(data, whole, **options)
    thread = when_kept(checkpoint.path_for(path), lambda: os.kill(os.getpid(), signal.SIGINT))
    assert train(data, path, checkpoint_every=0.0, **options).stopped
    thread.join()
    train(data, path, resume=True)
    assert path.read_bytes() == whole.read_bytes()


@pytest.fixture
def command(stripes, tmp_path):
    """Start `visionbus train` on two devices, in a session of its own; give it when it has a step of a fit."""
    data = stripes(300)
    np.savez(tmp_path / "data.npz", x_train=data.images, y_train=data.labels)
    words = ["train", "data.npz", "-o", "m.onnx", "--epochs", "500", "--devices", "2", "--no-refit"]
    words += ["--precision", "fp32"]
    with (
        (tmp_path / "err").open("w") as err,
        subprocess.Popen(
            [sys.executable, "-m", "visionbus", *words], cwd=tmp_path, stderr=err, start_new_session=True
        ) as process,
    ):
        kept, began = tmp_path / "m.checkpoint", threading.Event()
        when_kept(kept, began.set)
        try:
            assert began.wait(100), (tmp_path / "err").read_text()
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.timeout(400)
def test_ctrl_c_in_a_terminal_reaches_all_and_the_first_process_decides(command, tmp_path):
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(100) == 130, (tmp_path / "err").read_text()
    assert (tmp_path / "m.onnx").exists()
    assert (tmp_path / "m.checkpoint").exists()


@pytest.mark.timeout(400)
def test_processes_end_when_the_one_that_started_them_was_killed(command):
    started = psutil.Process(command.pid).children(recursive=True)
    assert len(started) >= 2
    command.kill()
    _, alive = psutil.wait_procs(started, 100)
    assert not alive


SCRIPT = """
import numpy as np
from pathlib import Path
from visionbus.training import train

def work():
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    train((images, np.arange(60) % 2), Path("m.onnx"), epochs=1, devices=2, precision="fp32", refit=False)
    print("done")

"""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("form", ["-c", "guarded", "bare"])
def test_script_may_train_in_several_processes_where_it_can_be_imported(tmp_path, form):
    call = 'if __name__ == "__main__":\n    work()' if form == "guarded" else "work()"
    (tmp_path / "script.py").write_text(SCRIPT + call)
    command = ["-c", SCRIPT + call] if form == "-c" else ["script.py"]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    if form == "bare":
        assert done.returncode == 1
        assert "put its work under `if __name__" in done.stderr
        assert not (tmp_path / "m.onnx").exists()
    else:
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


class Launching:
    """In place of a Fabric: its process does the fit, or a part of it, and fails."""

    def __init__(self, path, fits):
        self.path, self.fits = path, fits

    def launch(self, work, order, link):
        kept = checkpoint.load(self.path)
        checkpoint.save(replace(kept, finished=({},) * self.fits), self.path)
        raise ProcessExitedException("terminated", 1, 7, -6)


def test_process_that_fails_after_its_fit_is_kept_fails_nothing(stripes, tmp_path, silent):
    path = tmp_path / "m.checkpoint"
    facts = Facts((50, 50), 10, 110, held_out=True, input=Input(12, 12, "L"), classes=("a", "b"))
    plan = make_plan(facts, Options(), {}, (Phase(),))
    begun = checkpoint.Checkpoint(plan, "", {})
    checkpoint.save(begun, path)
    job = Job("decide", 0, plan.recipe, plan.phases, path, 15.0, math.inf)
    rest = {"threads": 1, "observer": silent, "stop": Stop()}
    done = launch(job, begun, torch.nn.Linear(1, 1), (stripes(9), None), fabric=Launching(path, 1), **rest)
    assert len(done.finished) == 1
    with pytest.raises(ProcessError, match="a process of the training failed"):
        launch(job, done, torch.nn.Linear(1, 1), (stripes(9), None), fabric=Launching(path, 1), **rest)


class Featured(torch.nn.Module):
    """A body and a head that learns from its features; each process writes down how many of them it computes."""

    def __init__(self, notes, pause=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.notes, self.pause = notes, pause
        self.body = torch.nn.Sequential(torch.nn.Linear(144, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, 2)

    def features(self, images):
        with self.notes.open("a") as file:
            file.write(f"{os.getpid()} {len(images)}\n")
        time.sleep(self.pause * len(images))
        if not len(images):
            raise ValueError("no images")
        return self.body(images.float().flatten(1) / 255)

    def forward(self, images):
        return self.head(self.features(images))

    def phases(self):
        return [Phase(1, 1, ("head.",), features=True)]


@pytest.fixture
def featured(stripes, tmp_path):
    """Give a job whose time is over before it begins, the checkpoint before it, and 701 images with 251 held out."""
    data = stripes(701), stripes(251, seed=1)
    facts = Facts((351, 350), 251, 952, held_out=False, input=Input(12, 12, "L"), classes=data[0].classes)
    plan = make_plan(facts, Options(epochs=2, precision="fp32"), {}, Featured(tmp_path / "notes").phases())
    job = Job("decide", 0, plan.recipe, plan.phases, tmp_path / "m.checkpoint", 15.0, 0.0)
    return job, checkpoint.Checkpoint(plan, "", {}), data


def launched(featured, tmp_path, observer, stop, pause=0.0):
    job, begun, data = featured
    checkpoint.save(begun, job.checkpoint)
    network, fabric = Featured(tmp_path / "notes", pause), fabric_for("fp32", devices=2, accelerator="cpu")
    return launch(job, begun, network, data, fabric=fabric, threads=2, observer=observer, stop=stop)


@pytest.mark.timeout(400)
def test_processes_share_the_features_and_heed_the_time(featured, tmp_path, silent):
    job, begun, data = featured
    shared = launched(featured, tmp_path, silent, Stop())
    computed = {}
    for line in (tmp_path / "notes").read_text().splitlines():
        process, images = map(int, line.split())
        computed.setdefault(process, []).append(images)
    assert sorted(computed.values()) == [[125, 125, 1], [125, 125, 1]]  # 250 to learn, in time, and those held out
    alone, on_cpu = replace(job, checkpoint=tmp_path / "alone.checkpoint"), fabric_for("fp32", accelerator="cpu")
    run(alone, begun, Featured(tmp_path / "notes"), data, fabric=on_cpu, observer=silent, stopped=Stop())
    single = checkpoint.load(alone.checkpoint)
    for one in (shared, single):
        assert [epoch.images for epoch in one.history] == [250, 250]
    assert shared.history[-1].validation_loss == pytest.approx(single.history[-1].validation_loss, rel=1e-4)
    for name, value in single.finished[0].items():
        assert torch.allclose(value, shared.finished[0][name], atol=1e-5)


@pytest.mark.timeout(400)
def test_process_that_dies_before_it_knows_what_to_do_ends_the_training(stripes, tmp_path):
    def kill_the_first():
        while not helpers():
            time.sleep(0.01)
        kill_one()

    thread = threading.Thread(target=kill_the_first)
    thread.start()
    with pytest.raises(ProcessError, match="a process of the training failed"):
        train(stripes(300), tmp_path / "m.onnx", epochs=1, **OPTIONS)
    thread.join()
    assert not helpers()


SLOW = """
import time
import numpy as np
import torch
from visionbus.training import train

class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(64, 2)

    def forward(self, images):
        if self.training:
            print("slow", flush=True)
            time.sleep(300)
        return self.head(images.float().flatten(1))

if __name__ == "__main__":
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    train((images, np.arange(60) % 2), "m.onnx", network=Slow(), devices=2, precision="fp32")
"""


@pytest.mark.timeout(400)
def test_processes_end_at_once_when_the_one_that_started_them_is_killed_and_leave_nothing(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "slow.py"], cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"slow")
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(started, 30)
    assert not alive
    assert not list(tmp_path.glob("visionbus-*"))


@pytest.mark.timeout(400)
def test_ctrl_c_stops_processes_while_features_are_computed(featured, tmp_path, silent):
    class Impatient(type(silent)):
        def features(self, done, of):
            if done == 250:
                os.kill(os.getpid(), signal.SIGINT)

    job, begun, data = featured
    with Stop() as stop:
        left = launched((replace(job, deadline=math.inf), begun, data), tmp_path, Impatient(), stop, pause=0.02)
    assert stop.requested
    assert (left.history, left.finished, left.current) == ((), (), None)
    assert not helpers()


def test_port_where_processes_meet_is_another_one_for_each_training(monkeypatch):
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with _port_of_its_own():
        os.environ["MASTER_PORT"] = "1"
    assert "MASTER_PORT" not in os.environ
    monkeypatch.setenv("MASTER_PORT", "2")  # as of a cluster
    with _port_of_its_own():
        pass
    assert os.environ["MASTER_PORT"] == "2"


def test_bf16_is_computed_in_where_it_is_asked_for():
    one = torch.ones(2, 2)
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with fabric_for(precision, accelerator="cpu").autocast():
            assert (one @ one).dtype == kind


def test_there_are_as_many_devices_as_gpus_or_any_number_of_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [most_devices(one) for one in ("cuda", "mps", "cpu")] == [2, 1, float("inf")]


def test_more_devices_than_there_are_are_refused(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("visionbus.training.planning.most_devices", lambda _: 1)
    with pytest.raises(ValueError, match="2 devices are more than this machine has: use at most 1"):
        train(stripes(60), tmp_path / "m.onnx", epochs=1, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_divergence_in_a_process_is_told_as_in_this_one():
    text = "-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  ...\n"
    diverged = _told(ProcessRaisedException(f"{text}visionbus.training.errors.DivergedError: the loss is nan\n", 1, 7))
    assert (type(diverged), str(diverged)) == (DivergedError, "the loss is nan")
    assert type(_told(ProcessRaisedException(f"{text}RuntimeError: out of memory", 1, 7))) is ProcessError
    full = _told(ProcessRaisedException(f"{text}torch.OutOfMemoryError: CUDA out of memory", 1, 7))
    assert "train anew on one" in str(full)


def test_network_that_cannot_be_given_to_other_processes_is_an_error(stripes, tmp_path):
    class Local(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(144, 2)

        def forward(self, images):
            return self.head(images.float().flatten(1))

    with pytest.raises(ProcessError, match="at the top level"):
        train(stripes(60), tmp_path / "m.onnx", epochs=1, network=Local(), **OPTIONS)


def test_progress_that_cannot_be_shown_does_not_hold_the_training_up(silent, caplog):
    class Gone(type(silent)):
        def step(self):
            raise SystemExit(1)

    ours, theirs = multiprocessing.Pipe()
    listener = threading.Thread(target=_listen, args=(ours, Gone()))
    listener.start()
    for _ in range(20_000):  # more than a pipe holds
        theirs.send(("step", ()))
    theirs.close()
    listener.join(30)
    assert not listener.is_alive()
    assert caplog.text.count("the progress cannot be shown any more") == 1


def test_shared_arrays_are_read_from_the_file_that_they_lie_in(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 1), dtype=np.uint8)
    (tmp_path / "pixels").write_bytes(b"head" + pixels.tobytes())
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", 4, pixels.shape)
    folder = tmp_path / "shared"
    folder.mkdir()
    labels = np.arange(9) % 2
    shared = share(Dataset(mapped[3:], labels[3:], ("a", "b")), folder)
    assert shared.images.path == str(tmp_path / "pixels")
    assert (shared.open().images == pixels[3:]).all()
    assert (shared.open().labels == labels[3:]).all()
    assert len(list(folder.iterdir())) == 1  # the labels alone
    copied = share(Dataset(pixels[::2], labels[::2], ("a", "b")), folder)
    assert (copied.open().images == pixels[::2]).all()
