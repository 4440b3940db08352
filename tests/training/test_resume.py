"""Interrupted trainings: they go on to the same weights, whenever and however they were stopped."""

import errno
import io
import math
import multiprocessing
import os
import random
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

torch = pytest.importorskip("torch")

from visionbus.training import CheckpointError, checkpoint, session, train  # noqa: E402 (torch may be missing)
from visionbus.training.stop import Stop  # noqa: E402 (the same)
from visionbus.vision.datasets import TrainingData  # noqa: E402 (the same)
from visionbus.vision.onnx import OnnxModel  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

OPTIONS = {"epochs": 3, "seed": 3, "precision": "fp32", "augment": "shift", "repeats": 2}
EACH_STEP = {"checkpoint_every": 0.0}
KILLED = """
import os, signal, sys
from visionbus.training import train

def heed(event, arguments):
    global left
    if event == "os.rename" and str(arguments[1]).endswith(suffix):
        left -= 1
        if not left:
            os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(heed)
train(data, path, **options)
"""


@pytest.fixture(scope="module")
def data(stripes):
    return stripes(120)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The file of a training that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "m.onnx"
    train(data, path, **OPTIONS)
    return path.read_bytes()


@pytest.fixture(scope="module")
def forks():
    """Processes that have torch, each a fork of one that imported it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["visionbus.training"])
    return context


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that makes Ctrl-C come at a step: a real SIGINT, of this process to itself."""
    asked = Stop.__call__

    def at(step, signals=1):
        steps = iter(range(1, 10_000))

        def call(stop):
            if next(steps) == step:
                for _ in range(signals):
                    os.kill(os.getpid(), signal.SIGINT)
            return asked(stop)

        monkeypatch.setattr(Stop, "__call__", call)

    return at


def done(path):
    """Return how many fits and steps a checkpoint has, which loads."""
    kept = checkpoint.load(checkpoint.path_for(path))
    return len(kept.finished), kept.current["schedule"]["step"] if kept.current else 0


def killed(forks, event, names):
    """Train in a process that kills itself as it is about to rename its n-th file of a kind, of which half is there."""
    process = forks.Process(target=exec, args=(KILLED, {"suffix": event[0], "left": event[1], **names}))
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.timeout(400)  # each process is a start of torch
def test_killed_again_and_again_it_goes_on_to_the_same_file(data, whole, forks, tmp_path):
    path, seen = tmp_path / "m.onnx", []
    kept = checkpoint.path_for(path)
    for event in [(".checkpoint", 1), (".checkpoint", 6), (".checkpoint", 30), (".html", 1)]:
        options = {"resume": True} if kept.exists() else OPTIONS
        assert killed(forks, event, {"data": data, "path": path, "options": {**options, **EACH_STEP}})
        seen.append(done(path) if kept.exists() else None)
    assert seen == [None, (0, 4), (1, 11), (3, 0)]
    train(data, path, resume=True)
    assert path.read_bytes() == whole
    assert sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith(".")) == [
        "m.html",
        "m.md",
        "m.onnx",
    ]


@pytest.mark.timeout(400)
def test_killed_at_any_moment_it_goes_on_to_the_same_file(data, whole, forks, tmp_path):
    path, generator = tmp_path / "m.onnx", random.Random(0)
    kept = checkpoint.path_for(path)
    for _ in range(2):
        options = {"resume": True} if kept.exists() else OPTIONS
        process = forks.Process(target=train, args=(data, path), kwargs={**options, **EACH_STEP})
        process.start()
        process.join(generator.uniform(0.2, 1))  # how far it comes is the machine's affair: it may even finish
        process.kill()
        process.join()
        if path.exists() and not kept.exists():
            break
    if kept.exists() or not path.exists():
        train(data, path, **({"resume": True} if kept.exists() else OPTIONS))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("step", [1, 5, 21, 22, 40])
def test_stopped_at_any_step_it_goes_on_to_the_same_file(data, whole, interrupt, tmp_path, step, monkeypatch):
    path = tmp_path / "m.onnx"
    interrupt(step)
    trained = train(data, path, **OPTIONS)
    assert trained.stopped
    monkeypatch.undo()
    again = train(data, path, resume=True)
    assert not again.stopped
    assert path.read_bytes() == whole
    assert [epoch.number for epoch in again.history] == [1, 2, 3] * 3
    assert not checkpoint.path_for(path).exists()


@pytest.mark.parametrize("step", [4, 9])
def test_orthogonalised_steps_go_on_to_the_same_file(stripes, interrupt, tmp_path, step, monkeypatch):
    data, whole, path = stripes(5600, side=8), tmp_path / "whole" / "m.onnx", tmp_path / "m.onnx"
    whole.parent.mkdir()
    options = {"epochs": 0.3, "precision": "fp32"}
    train(data, whole, **options)
    interrupt(step)
    train(data, path, **options)
    kept = checkpoint.load(checkpoint.path_for(path))
    assert kept.plan.recipe.orthogonal > 0
    assert (len(kept.finished), kept.current["schedule"]["step"]) == divmod(step, 6)
    monkeypatch.undo()
    train(data, path, resume=True)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("phase", [0, 1])
def test_backbone_goes_on_to_the_same_file_from_either_phase(stripes, interrupt, tmp_path, phase, monkeypatch):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "w.pth")
    data, whole, path = stripes(90, side=32, channels=3), tmp_path / "whole" / "m.onnx", tmp_path / "m.onnx"
    whole.parent.mkdir()
    options = {"backbone": "test_efficientnet", "weights": tmp_path / "w.pth", "epochs": 1, "precision": "fp32"}
    options["refit"] = False
    trained = train(data, whole, **options)
    assert (trained.history[0].features, trained.history[-1].features) == (True, False)
    assert trained.model.provenance["network"]["name"] == "test_efficientnet"
    first = math.ceil(trained.history[0].images / trained.model.provenance["recipe"]["batch"])  # steps of its phase
    interrupt(3 + (first if phase else 0))  # the wish is asked for twice while the features are computed
    train(data, path, **options)
    kept = checkpoint.load(checkpoint.path_for(path))
    monkeypatch.undo()
    train(data, path, resume=True, backbone=options["backbone"], weights=options["weights"])
    assert path.read_bytes() == whole.read_bytes()
    assert kept.current["schedule"]["phase"] == phase


def test_stopped_in_the_first_fit_the_model_is_what_was_learnt_so_far(data, interrupt, tmp_path):
    interrupt(12)
    trained = train(data, tmp_path / "m.onnx", **OPTIONS)
    model = OnnxModel(tmp_path / "m.onnx")
    assert "the first fit was stopped" in model.figures["stopped"]
    assert model.figures["train"]["images"] == 108
    assert "test" not in model.figures
    assert trained.validation.accuracy == pytest.approx(model.figures["validation"]["accuracy"], abs=1e-4)
    assert done(tmp_path / "m.onnx") == (0, 12)


def test_stopped_in_the_final_fit_the_model_is_the_finished_one_that_decided(data, interrupt, tmp_path):
    interrupt(25)
    trained = train(data, tmp_path / "m.onnx", **OPTIONS)
    assert "the final fit was stopped" in trained.stopped
    assert trained.model.figures["train"]["images"] == 108
    assert done(tmp_path / "m.onnx")[0] == 1


def test_stopped_in_a_repeat_the_model_is_the_finished_one(data, interrupt, tmp_path):
    interrupt(25)
    trained = train(data, tmp_path / "m.onnx", **OPTIONS, refit=False)
    assert trained.stopped == "repeats were stopped"
    assert done(tmp_path / "m.onnx")[0] == 1


def test_name_of_the_interrupted_training_is_kept(data, interrupt, tmp_path, monkeypatch):
    interrupt(5)
    train(data, tmp_path / "m.onnx", **OPTIONS, name="mine")
    monkeypatch.undo()
    assert train(data, tmp_path / "m.onnx", resume=True).model.name == "mine"


def test_a_second_training_to_the_same_output_is_refused_and_the_first_one_left_alone(data, interrupt, tmp_path):
    output = tmp_path / "m.onnx"
    interrupt(5)
    train(data, output, **OPTIONS)
    path = checkpoint.path_for(output)
    before = path.read_bytes()
    with checkpoint.claimed(path, output):
        for resume in (False, True):
            with pytest.raises(CheckpointError, match=r"another process trains .*m\.onnx: wait for its end"):
                train(data, output, resume=resume)
        with checkpoint.claimed(tmp_path / "other.checkpoint", tmp_path / "other.onnx"):
            pass  # another output is free
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.lock"))


def test_files_are_on_the_disk_before_they_get_their_names(data, tmp_path, monkeypatch):
    synced, renamed = [], []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino) or fsync(file))

    def noted(old, new):
        inode = Path(old).stat().st_ino
        renamed.append((Path(new), inode in synced))
        synced[:] = [other for other in synced if other != inode]  # another file may have it later
        rename(old, new)

    monkeypatch.setattr(os, "replace", noted)
    train(data, tmp_path / "m.onnx", epochs=1, precision="fp32", refit=False)
    ours = {path.suffix: on_disk for path, on_disk in renamed if path.parent == tmp_path}
    assert ours == dict.fromkeys([".checkpoint", ".onnx", ".md", ".html"], True)


def test_full_disk_leaves_the_checkpoint_of_before(data, interrupt, tmp_path):
    interrupt(5)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    path = checkpoint.path_for(tmp_path / "m.onnx")
    before, kept = path.read_bytes(), checkpoint.load(path)
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(OSError, match=str(path)):
            checkpoint.save(kept, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_checkpoint_that_cannot_be_written_within_a_fit_does_not_end_it(data, whole, tmp_path, monkeypatch):
    save = checkpoint.save

    def full(kept, path):
        if kept.current is not None:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(kept, path)

    monkeypatch.setattr(checkpoint, "save", full)
    console = Console(file=io.StringIO(), width=200)
    train(data, tmp_path / "m.onnx", **OPTIONS, **EACH_STEP, console=console)
    assert (tmp_path / "m.onnx").read_bytes() == whole
    assert "No space left on device" in console.file.getvalue()


def test_full_disk_at_the_end_of_a_fit_does_not_end_the_training_either(data, whole, tmp_path, monkeypatch):
    save, saved = checkpoint.save, []

    def full(kept, path):
        if saved:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        saved.append(path)
        save(kept, path)

    monkeypatch.setattr(checkpoint, "save", full)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    assert (tmp_path / "m.onnx").read_bytes() == whole


def test_log_that_cannot_be_written_does_not_end_the_training(data, whole, tmp_path):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    train(data, tmp_path / "m.onnx", **OPTIONS, console=Console(file=Full()))
    assert (tmp_path / "m.onnx").read_bytes() == whole


def test_final_fit_without_time_does_not_count_and_is_made_when_the_training_goes_on(data, tmp_path, monkeypatch):
    whole, path = tmp_path / "whole" / "m.onnx", tmp_path / "m.onnx"
    whole.parent.mkdir()
    options = {"epochs": 20, "precision": "fp32", "time_budget": 300.0}
    train(data, whole, **options)
    deadline = session.Session._deadline

    def paused(one, costs):
        return 0.0 if len(costs) == 1 else deadline(one, costs)  # the final fit is the last

    monkeypatch.setattr(session.Session, "_deadline", paused)
    trained = train(data, path, **options)
    assert trained.stopped == "the final fit was stopped: this network was fitted without the images held out"
    measured = (trained.model.logits(data.images).argmax(axis=1) == data.labels).mean()
    assert measured > 0.9
    monkeypatch.undo()
    again = train(data, path, resume=True)
    assert not again.stopped
    assert trained.model.logits(data.images).shape == again.model.logits(data.images).shape
    assert OnnxModel(path).version != trained.model.version


def test_second_interrupt_ends_at_once_and_leaves_a_checkpoint(data, interrupt, tmp_path):
    interrupt(12, signals=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "m.onnx", **OPTIONS, **EACH_STEP)
    assert not (tmp_path / "m.onnx").exists()
    assert done(tmp_path / "m.onnx") == (0, 11)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_checkpoint_of_other_data_is_refused(data, interrupt, stripes, tmp_path):
    interrupt(3)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    changed = data.images.copy()
    changed[7, 0, 0] += 1
    with pytest.raises(CheckpointError, match="other data"):
        train(replace(data, images=changed), tmp_path / "m.onnx", resume=True)
    with pytest.raises(CheckpointError, match="another network"):
        train(data, tmp_path / "m.onnx", resume=True, network=torch.nn.Identity())


def test_other_versions_are_told(data, interrupt, tmp_path, monkeypatch, capsys):
    from rich.console import Console  # noqa: PLC0415 (to write where capsys reads)

    interrupt(3)
    path = tmp_path / "m.onnx"
    train(data, path, **OPTIONS)
    kept = checkpoint.load(checkpoint.path_for(path))
    checkpoint.save(replace(kept, environment={**kept.environment, "threads": 64}), checkpoint.path_for(path))
    monkeypatch.undo()
    train(data, path, resume=True, console=Console())
    assert "threads was 64 and is 1" in capsys.readouterr().out


def test_nothing_to_resume_is_an_error(data, tmp_path):
    with pytest.raises(CheckpointError, match="there is no"):
        train(data, tmp_path / "m.onnx", resume=True)


def test_checkpoint_that_cannot_be_read_is_not_called_damaged(data, tmp_path):
    (tmp_path / "m.checkpoint").mkdir()
    with pytest.raises(CheckpointError, match=r"cannot read .*m\.checkpoint to go on from: Is a directory"):
        train(data, tmp_path / "m.onnx", resume=True)


def test_options_of_another_training_are_refused_before_its_data_is_opened(data, interrupt, tmp_path):
    interrupt(10)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    with pytest.raises(CheckpointError, match="planned without image size"):
        train(tmp_path / "nothing", tmp_path / "m.onnx", resume=True, image_size=96)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 damaged"])
def test_damaged_checkpoint_is_an_error(data, tmp_path, content):
    (tmp_path / "m.checkpoint").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        train(data, tmp_path / "m.onnx", resume=True)


def test_changed_bytes_in_a_checkpoint_are_found(data, interrupt, tmp_path):
    interrupt(12)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    path = checkpoint.path_for(tmp_path / "m.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        train(data, tmp_path / "m.onnx", resume=True)


@pytest.mark.parametrize("lost", ["format", "plan", "data", "history", "current"])
def test_checkpoint_that_lacks_something_is_an_error(data, interrupt, tmp_path, lost):
    interrupt(3)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    path = checkpoint.path_for(tmp_path / "m.onnx")
    values = torch.load(path, weights_only=True)
    del values[lost]
    torch.save(values, path)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_checkpoint_of_another_kind_of_device_is_refused(data, interrupt, tmp_path):
    interrupt(3)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    path = checkpoint.path_for(tmp_path / "m.onnx")
    kept = checkpoint.load(path)
    checkpoint.save(replace(kept, plan=replace(kept.plan, accelerator="cuda")), path)
    with pytest.raises(CheckpointError, match="on cuda, not cpu: train anew"):
        train(data, tmp_path / "m.onnx", resume=True)


def test_links_in_place_of_the_files_of_a_checkpoint_lead_nowhere(data, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "m.checkpoint.lock").symlink_to(victim)
    with pytest.raises(OSError, match=r"m\.checkpoint\.lock"):
        train(data, tmp_path / "m.onnx", **OPTIONS)
    (tmp_path / "m.checkpoint.lock").unlink()
    (tmp_path / "m.checkpoint.part").symlink_to(victim)
    train(data, tmp_path / "m.onnx", **OPTIONS)
    assert victim.read_text() == "mine"


def test_checkpoint_of_another_format_is_told_as_another_version_s(data, tmp_path):
    torch.save({"format": checkpoint.FORMAT - 1}, tmp_path / "m.checkpoint")
    with pytest.raises(CheckpointError, match="another version of visionbus"):
        train(data, tmp_path / "m.onnx", resume=True)


def test_pickle_in_a_checkpoint_is_never_executed(data, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"format": checkpoint.FORMAT, "plan": Evil()}, tmp_path / "m.checkpoint")
    with pytest.raises(CheckpointError, match="damaged"):
        train(data, tmp_path / "m.onnx", resume=True)
    assert not (tmp_path / "executed").exists()


def test_digest_tells_data_apart(stripes):
    def of(dataset):
        return checkpoint.digest(TrainingData("d", None, dataset))

    data = stripes(20)
    assert of(data) == of(replace(data, images=data.images.copy()))
    assert of(data) != of(replace(data, labels=1 - data.labels))
    assert of(data) != of(replace(data, classes=("a", "b")))
    assert of(data) != of(data.subset(np.arange(19)))
