"""`visionbus evaluate` and `visionbus predict`, with the shipped model."""

import numpy as np
import pytest
from PIL import Image

from visionbus.cli.evaluate import _answer
from visionbus.vision import Input, load
from visionbus.vision.datasets import open_for
from visionbus.vision.onnx import OnnxModel, default_model


@pytest.fixture
def images(tmp_path):
    """Write a folder with a folder a class: black and noise."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    for name, pixels in (("Bag", noise), ("Ankle boot", noise // 200)):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_evaluate_measures_a_folder(run, images):
    outcome = run("evaluate", default_model(), images)
    assert outcome.status == 0
    assert outcome.lines[0].startswith("accuracy ")
    assert outcome.lines[1] == "images 4"
    assert len([line for line in outcome.lines if line.startswith("class ")]) == 10


def test_evaluate_prints_one_json_document(run, images):
    document = run("evaluate", default_model(), images, "--json").document
    assert document["images"] == 4
    assert 0 <= document["accuracy"] <= 1
    assert document["per_class"]["Bag"]["support"] == 2
    assert document["model"]["name"] == "fashion-mnist"


@pytest.mark.slow
def test_shipped_model_measures_on_the_test_part_what_its_file_says(run):
    document = run("evaluate", default_model(), "fashion-mnist", "--json").document
    assert document["images"] == 10_000
    assert document["accuracy"] == OnnxModel(default_model()).figures["test"]["accuracy"] >= 0.93


def test_evaluate_of_data_that_is_not_there_names_the_cure(run):
    outcome = run("evaluate", default_model(), "fashion-minst")
    assert outcome.status == 1
    assert outcome.err.splitlines() == [
        "visionbus: error: fashion-minst is no folder: name fashion-mnist, or a folder with a folder a class"
    ]


def test_predict_answers_one_line_an_image_with_the_shipped_model_or_another(run, images):
    paths = [images / "Bag" / "0.png", images / "Ankle boot" / "1.png"]
    shipped, named = run("predict", *paths), run("predict", default_model(), *paths)
    assert shipped.status == named.status == 0
    assert shipped.out == named.out
    assert [line.rpartition(": ")[0] for line in shipped.lines] == list(map(str, paths))


def test_predict_names_a_bad_image_and_answers_the_others(run, images):
    bad = images / "bad.png"
    bad.write_bytes(b"")
    outcome = run("predict", bad, images / "Bag" / "0.png", "--json")
    assert outcome.status == 1
    assert [set(answer) for answer in outcome.document["images"]] == [
        {"path", "error"},
        {"path", "label", "probabilities"},
    ]
    assert outcome.err.splitlines() == [f"visionbus: error: {bad}: the file is empty: send an image"]


def test_predict_without_an_image_is_wrong_usage(run):
    outcome = run("predict", default_model())
    assert outcome.status == 2
    assert "no IMAGE" in outcome.err


def test_predict_refuses_what_is_no_model(run, images):
    (images / "broken.onnx").write_bytes(b"junk")
    outcome = run("predict", images / "broken.onnx", images / "Bag" / "0.png")
    assert outcome.status == 1
    assert "broken.onnx is no ONNX model" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_predict_shows_a_model_the_pixels_that_every_other_way_in_gives(tmp_path):
    shown = []

    class Recorder:
        classes, input = ("a",), Input(64, 48, fit="crop")

        def logits(self, batch):
            shown.append(batch)
            return np.zeros((len(batch), 1), np.float32)

    exif = Image.Exif()
    exif[274] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    photo = tmp_path / "a" / "photo.jpg"
    Image.fromarray(pixels).resize((3000, 2000)).save(photo, exif=exif)
    _answer(Recorder(), photo, quiet=True)
    (one,) = shown[0]
    assert (one == load(photo.read_bytes(), Recorder.input)).all()
    assert (one == open_for(Recorder(), tmp_path).images[0]).all()
