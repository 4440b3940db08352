"""Trainings in several processes, which share each batch."""

import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch")

from torch.multiprocessing.spawn import ProcessRaisedException  # noqa: E402 (torch may be missing)

from visionbus.training import DivergedError, ProcessError, checkpoint, train  # noqa: E402 (torch may be missing)
from visionbus.training.processes import _listen, _told, most_devices  # noqa: E402 (the same)
from visionbus.training.sharing import share  # noqa: E402 (the same)
from visionbus.vision import Dataset, evaluate  # noqa: E402 (the same)

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
        assert trained.history[-1].validation_accuracy > 0.9
    assert min(found.values()) > 0.93
    assert abs(found[1] - found[2]) < 0.05
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == ["m.html", "m.md", "m.onnx"]
    assert trained.model.provenance["command"].endswith("--devices 2 --no-refit")


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
