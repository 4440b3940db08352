"""`visionbus train`: its options, and what it says; what training does is tested with visionbus.training."""

import importlib.util
import json
import signal
import subprocess
import time
from types import SimpleNamespace

import click
import numpy as np
import pytest
from PIL import Image

from visionbus.cli.errors import Failure
from visionbus.cli.train import Duration, train
from visionbus.vision.onnx import OnnxModel

VALUES = [
    one for one in train.params if isinstance(one, click.Option) and not (one.required or one.is_flag or one.count)
]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture
def folder(tmp_path):
    """Forty small images of noise in two classes."""
    generator = np.random.default_rng(0)
    for name, most in (("dark", 100), ("bright", 256)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(most - 100, most, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("there", ["model.onnx", "model.md", "model.html"])
def test_output_that_exists_is_not_replaced(run, tmp_path, there):
    (tmp_path / there).write_text("mine")
    shown = run("train", tmp_path, "-o", tmp_path / "model.onnx")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err == (
        f"visionbus: error: {tmp_path / there} exists: name another output, or replace it with --overwrite\n"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", "0"),
        ("--seed", "-1"),
        ("--repeats", "0"),
        ("--precision", "fp8"),
        ("--time-budget", "soon"),
        ("--time-budget", "0m"),
        ("--image-size", "4"),
        ("--augment", "much"),
        ("--devices", "0"),
    ],
)
def test_value_out_of_range_is_wrong_usage(run, option, value):
    shown = run("train", "data", "-o", "model.onnx", option, value)
    assert (shown.status, shown.out) == (2, "")
    assert option in shown.err


@pytest.mark.parametrize("option", VALUES, ids=lambda option: option.name)
def test_help_says_what_an_option_is_for_and_its_default(option):
    assert option.help
    assert "default: " in option.get_help_record(click.Context(train))[1]


@needs_torch
def test_more_broken_files_than_are_allowed_are_an_error_that_names_the_option(run, folder):
    for number in range(10):
        (folder / "data" / "dark" / f"broken-{number}.png").write_bytes(b"no image")
    shown = run("train", folder / "data", "-o", folder / "model.onnx", "--epochs", "1")
    assert shown.status == 1
    assert "--allow-broken" in shown.err
    shown = run("train", folder / "data", "-o", folder / "model.onnx", "--epochs", "1", "--allow-broken", "0.5")
    assert shown.status == 0, shown.err


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_time_budget_is_read_with_its_unit(text, seconds):
    assert Duration().convert(text, None, None) == seconds


def test_checkpoint_of_an_interrupted_training_is_not_replaced(run, tmp_path):
    (tmp_path / "model.checkpoint").write_text("mine")
    (tmp_path / "model.onnx").write_text("of what was learnt so far")
    shown = run("train", tmp_path, "-o", tmp_path / "model.onnx")
    assert shown.status == 1
    assert "go on with --resume" in shown.err
    assert (tmp_path / "model.checkpoint").read_text() == "mine"


@needs_torch
@pytest.mark.slow
def test_output_of_another_kind_is_told_before_what_exists_beside_it(run, tmp_path):
    (tmp_path / "model.md").write_text("mine")
    shown = run("train", tmp_path, "-o", tmp_path / "model.pt")
    assert "name it model.onnx" in shown.err


@needs_torch
@pytest.mark.slow
def test_second_interrupt_says_how_to_go_on_if_there_is_a_checkpoint(run, tmp_path, monkeypatch):
    def train(data, output, **_):
        (tmp_path / "model.checkpoint").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("visionbus.training.train", train)
    shown = run("train", tmp_path, "-o", tmp_path / "model.onnx")
    assert shown.status == 130
    assert "the same command with --resume goes on" in shown.err


@needs_torch
@pytest.mark.slow
def test_seconds_are_those_of_the_whole_command(run, tmp_path, monkeypatch):
    def train(data, output, **_):
        time.sleep(0.2)
        model = SimpleNamespace(name="m", version="1", figures={}, provenance={})
        return SimpleNamespace(path=output, model=model, seconds=0.0, stopped="")

    monkeypatch.setattr("visionbus.training.train", train)
    shown = run("train", tmp_path, "-o", tmp_path / "model.onnx", "--json")
    assert shown.document["seconds"] >= 0.2


def test_output_is_needed(run):
    shown = run("train", "data")
    assert shown.status == 2
    assert "--output" in shown.err


@needs_torch
@pytest.mark.slow
def test_each_option_is_heeded_and_an_old_model_replaced_where_that_is_asked_for(visionbus, folder):
    (folder / "model.onnx").write_bytes(b"an old one")
    options = ["--name", "light", "--epochs", "2", "--seed", "7", "--repeats", "2", "--precision", "bf16"]
    command = [*visionbus, "train", "data", "-o", "model.onnx", *options]
    done = subprocess.run([*command, "--overwrite", "--json"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["path"], document["name"]) == ("model.onnx", "light")
    assert document["version"] == OnnxModel(folder / "model.onnx").version
    assert document["provenance"]["command"] == (
        "visionbus train data -o model.onnx --name light --epochs 2 --seed 7 --repeats 2 --precision bf16"
    )
    assert (document["provenance"]["recipe"]["epochs"], document["provenance"]["seed"]) == (2, 7)
    assert {path.name for path in folder.iterdir()} == {"data", "model.onnx", "model.md", "model.html"}


@needs_torch
@pytest.mark.slow
def test_options_reach_the_training(run, folder, monkeypatch):
    heard = {}

    def train(data, output, **options):
        heard.update(options, data=data, output=output)
        raise Failure("enough")

    monkeypatch.setattr("visionbus.training.train", train)
    (folder / "w.pth").touch()
    words = ["--epochs", 2, "--image-size", 24, "--augment", "shift", "--seed", 7, "--repeats", 3, "--devices", 2]
    words += ["--precision", "bf16", "--no-refit", "--backbone", "lite", "--weights", folder / "w.pth", "--name", "n"]
    shown = run("train", folder / "data", "-o", folder / "m.onnx", *words, "--time-budget", "10m")
    assert shown.err == "visionbus: error: enough\n"
    assert 500 < heard.pop("time_budget") < 600  # the start is a part of it
    del heard["columns"], heard["checks"], heard["console"]
    assert heard == {
        "data": str(folder / "data"),
        "output": folder / "m.onnx",
        "name": "n",
        "epochs": 2,
        "image_size": 24,
        "augment": "shift",
        "backbone": "lite",
        "weights": folder / "w.pth",
        "seed": 7,
        "repeats": 3,
        "devices": 2,
        "precision": "bf16",
        "refit": False,
        "resume": False,
    }
    assert run("train", "data", "-o", folder / "m.onnx", "--refit").status == 1
    assert heard["refit"] is True
    assert heard["time_budget"] is None


@needs_torch
@pytest.mark.slow
def test_what_was_trained_is_said_one_fact_a_line(visionbus, folder):
    command = [*visionbus, "train", "data", "-o", "lights.onnx", "--epochs", "1", "--precision", "fp32"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    trained = OnnxModel(folder / "lights.onnx")
    model, accuracy, report, card = done.stdout.splitlines()
    assert model == f"model lights.onnx name lights version {trained.version}"
    assert accuracy.startswith("accuracy ")
    assert " on 4 held-out images" in accuracy
    assert (report, card) == ("report lights.html", "card lights.md")
    assert trained.provenance["precision"] == "fp32"  # above bf16: one of the two is not what auto takes


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_writes_what_there_is_and_goes_on_when_asked(visionbus, folder, number):
    command = [*visionbus, "train", "data", "-o", "lights.onnx"]
    options = ["--epochs", "600", "--no-refit", "--precision", "fp32"]  # one long fit: the signal may come late
    with subprocess.Popen(
        [*command, *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if "epoch 1 of" in line:
                process.send_signal(number)
                break
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert "the same command with --resume goes on" in err
    assert "stopped: the first fit was stopped" in out
    assert OnnxModel(folder / "lights.onnx").figures["stopped"]
    assert (folder / "lights.checkpoint").exists()
    other = subprocess.run(
        [*command, "--epochs", "3", "--resume"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert other.returncode == 1
    assert "the checkpoint was planned with epochs 600.0, not 3.0" in other.stderr
    done = subprocess.run([*command, *options, "--resume"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "stopped" not in OnnxModel(folder / "lights.onnx").figures
    assert not (folder / "lights.checkpoint").exists()
