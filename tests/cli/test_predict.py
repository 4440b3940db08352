"""`visionbus predict`, with the shipped model."""

import os

import numpy as np
from PIL import Image

from visionbus.cli.predict import _answer
from visionbus.vision import Input, load
from visionbus.vision.datasets import load_evaluation_data
from visionbus.vision.onnx import default_model


def test_predict_answers_one_line_per_image_with_the_shipped_model_or_another(run, images):
    paths = [images / "Bag" / "0.png", images / "Ankle boot" / "1.png"]
    shipped, named = run("predict", *paths), run("predict", default_model(), *paths)
    assert shipped.status == named.status == 0
    assert shipped.out == named.out
    assert [line.rpartition(": ")[0] for line in shipped.lines] == list(map(str, paths))


def test_predict_classifies_with_the_model_that_is_named(run, images):
    other = images / "other.onnx"
    other.write_bytes(default_model().read_bytes().replace(b'"fashion-mnist"', b'"another-model"'))
    shown = run("predict", other, images / "Bag" / "0.png", "--json")
    assert shown.document["model"]["name"] == "another-model"


def test_folder_is_refused_with_what_to_do(run, images):
    shown = run("predict", images / "Bag")
    assert shown.status == 2
    assert f"{images / 'Bag'} is a folder: name its images, as in {images / 'Bag'}/*" in " ".join(shown.err.split())


def test_predict_names_a_bad_image_and_answers_the_others(run, images):
    bad = images / "bad.png"
    bad.write_bytes(b"")
    outcome = run("predict", bad, images / "Bag" / "0.png", "--json")
    assert outcome.status == 1
    assert [set(answer) for answer in outcome.document["images"]] == [
        {"path", "error"},
        {"path", "label", "probabilities"},
    ]
    assert outcome.err.splitlines() == [f"visionbus: error: {bad}: the file is empty: use an image file"]


def test_predict_names_a_missing_file_and_answers_the_others(run, images):
    outcome = run("predict", images / "none.png", images / "Bag" / "0.png")
    assert (outcome.status, len(outcome.lines)) == (1, 1)
    missing = f"visionbus: error: {images / 'none.png'}: no such file or directory: check the path"
    assert outcome.err.splitlines() == [missing]
    outcome = run("predict", images / "none.onnx", images / "Bag" / "0.png")
    assert (outcome.status, outcome.lines) == (1, [])
    assert "none.onnx" in outcome.err


def test_predict_names_what_is_no_regular_file_and_answers_the_others(run, images):
    os.mkfifo(images / "pipe.png")
    outcome = run("predict", images / "pipe.png", "/dev/zero", images / "Bag" / "0.png", "--json")
    assert outcome.status == 1
    assert ["error" in answer for answer in outcome.document["images"]] == [True, True, False]
    assert outcome.err.splitlines() == [
        f"visionbus: error: {path}: not a regular file: copy its content into one"
        for path in (images / "pipe.png", "/dev/zero")
    ]


def test_predict_without_an_image_is_wrong_usage(run):
    outcome = run("predict", default_model())
    assert outcome.status == 2
    assert "no IMAGE" in outcome.err


def test_predict_refuses_a_file_that_is_not_a_model(run, images):
    (images / "broken.onnx").write_bytes(b"junk")
    outcome = run("predict", images / "broken.onnx", images / "Bag" / "0.png")
    assert outcome.status == 1
    assert "broken.onnx is not an ONNX model" in outcome.err
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
    assert (one == load_evaluation_data(Recorder(), tmp_path).images[0]).all()
