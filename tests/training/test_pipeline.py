"""From data to a model file and back: trained, exported, read, the same."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from rich.console import Console

torch = pytest.importorskip("torch")

from visionbus.training import (  # noqa: E402 (torch may be missing)
    Classifier,
    DivergedError,
    Pixels,
    export,
    pipeline,
    session,
    temperature_for,
    train,
)
from visionbus.training.export import write  # noqa: E402 (the same)
from visionbus.training.held_out import HeldOut  # noqa: E402 (the same)
from visionbus.training.networks import NetworkConfig, build  # noqa: E402 (the same)
from visionbus.training.options import Options  # noqa: E402 (the same)
from visionbus.training.plan import Facts, Plan, make_plan  # noqa: E402 (the same)
from visionbus.training.provenance import provenance  # noqa: E402 (the same)
from visionbus.training.recipe import Phase  # noqa: E402 (the same)
from visionbus.vision import DatasetError, Input, ModelError, evaluate  # noqa: E402 (the same)
from visionbus.vision.datasets import (  # noqa: E402 (the same)
    Decoding,
    Holdout,
    TrainingData,
    load_evaluation_data,
    open_data,
)
from visionbus.vision.datasets.leaks import Leak  # noqa: E402 (the same)
from visionbus.vision.evaluation import logits_of  # noqa: E402 (the same)
from visionbus.vision.metadata import Metadata  # noqa: E402 (the same)
from visionbus.vision.onnx import OnnxModel  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import

SPEC = Input(12, 12, "L")


@pytest.fixture(scope="module")
def trained(stripes, tmp_path_factory):
    return train(stripes(300), tmp_path_factory.mktemp("model") / "stripes.onnx", epochs=4, precision="fp32")


def test_final_fit_is_planned_with_all_its_images_also_those_that_leaked_into_validation(stripes, tmp_path):
    data = stripes(200)
    copied = replace(data, images=np.concatenate([data.images[:150], data.images[:50]]))
    copied = replace(copied, labels=np.concatenate([data.labels[:150], data.labels[:50]]))
    trained = train(copied, tmp_path / "m.onnx", epochs=0.1, precision="fp32")
    assert trained.validation.images < 20  # some of a tenth are copies of what is learnt
    assert trained.model.figures["train"]["images"] == 200


def test_data_opened_without_a_validation_split_gets_one_without_copies_of_what_is_learnt(stripes, tmp_path):
    data = stripes(100)
    twice = replace(data, images=np.tile(data.images, (2, 1, 1, 1)), labels=np.tile(data.labels, 2), names=())
    opened = open_data(twice, holdout=Holdout(0))
    assert opened.validation is None
    trained = train(opened, tmp_path / "m.onnx", epochs=0.1, precision="fp32")
    assert trained.validation.images < 10  # of the 20 held out, those whose copy was held out, too
    assert trained.model.figures["train"]["images"] == 200


def test_trained_model_classifies_what_it_never_saw(trained, stripes):
    assert trained.validation.accuracy > 0.9
    assert evaluate(trained.model, stripes(200, seed=1)).accuracy > 0.9


def test_file_tells_how_it_was_made_and_measured(trained):
    model = OnnxModel(trained.path)
    assert model.name == "stripes"
    assert model.classes == ("upright", "level")
    assert model.input == SPEC
    assert model.figures["validation"]["accuracy"] == round(trained.validation.accuracy, 4)
    call = "visionbus.training.train(arrays, Path('stripes.onnx'), epochs=4, seed=0, repeats=1, precision='fp32')"
    assert model.provenance["command"] == call
    assert {"seed", "precision", "recipe", "versions", "processor"} <= set(model.provenance)


def test_card_lies_beside_it_and_names_its_version(trained):
    card = trained.path.with_suffix(".md").read_text(encoding="utf-8")
    assert trained.model.version in card
    assert str(trained.model.figures["validation"]["accuracy"]) in card


def test_file_names_no_path_of_the_machine_that_trained(trained):
    content = trained.path.read_bytes()
    for path in (str(trained.path.parent), "site-packages", "network.py", "forward"):
        assert path.encode() not in content


def test_file_is_one_file_with_the_promised_names_and_types(trained):
    graph = onnx.load(trained.path).graph
    assert [(value.name, value.type.tensor_type.elem_type) for value in graph.input] == [
        ("images", onnx.TensorProto.UINT8)
    ]
    assert [value.name for value in graph.output] == ["logits"]
    assert sorted(path.name for path in trained.path.parent.iterdir()) == ["stripes.html", "stripes.md", "stripes.onnx"]


def test_same_seed_gives_the_same_file(stripes, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train(stripes(60), tmp_path / name / "m.onnx", epochs=1, precision="fp32")
    assert (tmp_path / "one" / "m.onnx").read_bytes() == (tmp_path / "two" / "m.onnx").read_bytes()


def network_and_images(channels=1, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (300, 12, 12, channels), dtype=np.uint8)
    network = build(NetworkConfig(5, channels, (8, 16)), images, seed=seed)
    network.train()(torch.from_numpy(images))  # batch norms see something
    return network, images


def test_file_is_compared_with_the_network_on_images_of_all_classes(tmp_path, stripes, monkeypatch):
    data, seen = stripes(3000, side=8), []
    data = data.subset(np.argsort(data.labels, kind="stable"))
    monkeypatch.setattr(pipeline, "write", lambda *given, images: seen.append(images) or write(*given, images=images))
    train(TrainingData("sorted", Input(8, 8, "L"), data), tmp_path / "m.onnx", epochs=0.1, refit=False)
    (images,) = seen
    known = {image.tobytes(): label for image, label in zip(data.images, data.labels.tolist(), strict=True)}
    assert len(images) == 1000
    assert {known[image.tobytes()] for image in images} == {0, 1}


@pytest.mark.parametrize("channels", [1, 3])
def test_exported_file_measures_as_the_network_does(tmp_path, stripes, channels):
    network, images = network_and_images(channels)
    data = stripes(300, channels=channels)
    classifier = Classifier(
        network, ("a", "b", "c", "upright", "level"), Input(12, 12, "L" if channels == 1 else "RGB")
    )
    described = Metadata("m", classifier.classes, classifier.input)
    model = write(classifier.at(0.7), tmp_path / "m.onnx", described, images=images)
    data = type(data)(data.images, data.labels, classifier.classes)
    ours, theirs = evaluate(model, data), evaluate(classifier.at(0.7), data)
    assert ours.confusion == theirs.confusion
    assert ours.calibration.loss == pytest.approx(theirs.calibration.loss, abs=1e-5)


def test_any_module_from_pixels_to_logits_can_be_exported(tmp_path):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, 2)

        def forward(self, images):
            return self.head(images.float().mean(dim=(1, 2)))

    network = Mean()
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 7, 3), dtype=np.uint8)
    model = export(network, tmp_path / "mean.onnx", ("a", "b"), Input(5, 7), temperature=2, figures={"accuracy": 0.9})
    assert (model.name, model.classes, model.input) == ("mean", ("a", "b"), Input(5, 7))
    assert model.figures == {"accuracy": 0.9}
    assert np.allclose(model.logits(images), network(torch.from_numpy(images)).detach() / 2, atol=1e-4)


class Moody(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(144, 2)

    def forward(self, images):
        flat = images.float().flatten(1)
        return self.head(flat) if float(flat.mean()) > 0 else self.head(-flat)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_network_whose_loss_is_no_number_any_more_is_an_error_at_once(tmp_path, stripes):
    def steep(classes, spec):
        layers = [torch.nn.Flatten(), *(torch.nn.Linear(144, 144) for _ in range(4)), torch.nn.Linear(144, classes)]
        return Pixels(torch.nn.Sequential(*layers), mean=(0,), deviation=(1e-4,))

    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) in epoch 1"):
        train(stripes(200), tmp_path / "m.onnx", network=steep, epochs=10, precision="fp32")
    assert not (tmp_path / "m.onnx").exists()


def test_file_names_that_are_no_text_are_refused_or_escaped(tmp_path, stripes):
    odd, data = os.fsdecode(b"photos\xe9"), stripes(100)
    with pytest.raises(ValueError, match=r"--name"):
        train(data, tmp_path / f"{odd}.onnx", epochs=1)
    with pytest.raises(ValueError, match="text of UTF-8"):
        train(data, tmp_path / "m.onnx", name=odd)
    np.savez(tmp_path / f"{odd}.npz", x_train=data.images, y_train=data.labels)
    trained = train(tmp_path / f"{odd}.npz", tmp_path / f"{odd}.onnx", name="m", epochs=1, precision="fp32")
    assert r"photos\udce9" in trained.model.provenance["command"]
    assert r"photos\udce9" in trained.model.figures["dataset"]


@pytest.mark.parametrize("suffix", [".onnx", ".md", ".html"])
def test_folder_in_place_of_an_output_is_found_before_training(tmp_path, stripes, suffix):
    (tmp_path / "m").with_suffix(suffix).mkdir()
    said = io.StringIO()
    with pytest.raises(IsADirectoryError, match=rf"m\{suffix}'"):
        train(stripes(100), tmp_path / "m.onnx", console=Console(file=said))
    assert not said.getvalue()


def test_own_network_that_cannot_be_exported_is_refused_before_it_is_trained(tmp_path, stripes):
    said = io.StringIO()
    with pytest.raises(ModelError, match="torch cannot export the network"):
        train(stripes(100), tmp_path / "m.onnx", network=Moody(), console=Console(file=said))
    assert "steps" not in said.getvalue()
    assert not list(tmp_path.iterdir())


def test_network_that_cannot_be_traced_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"torch cannot export the network: give one that torch\.export can trace"):
        export(Moody(), tmp_path / "m.onnx", ["a", "b"], SPEC)
    assert not list(tmp_path.iterdir())


def test_export_that_would_differ_is_refused_and_leaves_the_old_file(tmp_path, monkeypatch):
    network, images = network_and_images()
    classifier = Classifier(network, tuple("abcde"), SPEC)
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    right = classifier.logits(images)
    monkeypatch.setattr(classifier, "logits", lambda batch: right + np.float32(0.01))
    with pytest.raises(ModelError, match="apart from the network's"):
        write(classifier, path, Metadata("m", classifier.classes, SPEC), images=images)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("m.onnx", b"old")]


def folder_of_photos(folder):
    """Write discs and squares in colour on noise, mixed sizes, one file broken."""
    generator = np.random.default_rng(0)
    for name in ("discs", "squares"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            side = int(generator.integers(40, 60))
            rows, columns = np.mgrid[:side, :side] / side - 0.5
            inside = (rows**2 + columns**2 < 0.1) if name == "discs" else (abs(rows) < 0.3) & (abs(columns) < 0.3)
            pixels = generator.integers(0, 60, (side, side, 3)) + inside[..., None] * np.array([180, 90, 40])
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    (folder / "discs" / "broken.png").write_bytes(b"no image")


def test_command_trains_on_a_folder_and_the_file_answers(tmp_path):
    folder_of_photos(tmp_path / "shapes")
    command = [sys.executable, "-m", "visionbus", "train", "shapes", "-o", "shapes.onnx", "--epochs", "25", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["train"]["images"] == 60
    assert "skipped discs/broken.png" in done.stderr
    page = (tmp_path / "shapes.html").read_text(encoding="utf-8")
    command = "visionbus train shapes -o shapes.onnx"
    assert all(shown in page for shown in ("discs/broken.png", "<polyline", command, "Before temperature scaling"))
    model = OnnxModel(tmp_path / "shapes.onnx")
    assert model.input.mode == "RGB"
    assert evaluate(model, load_evaluation_data(model, tmp_path / "shapes")).accuracy > 0.9


def test_command_in_the_file_makes_the_same_model_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of_photos(tmp_path / "shapes")
    rows = [
        f"{path.relative_to(tmp_path / 'shapes')},{path.parent.name}" for path in (tmp_path / "shapes").rglob("*.png")
    ]
    (tmp_path / "list.csv").write_text("\n".join(["photograph,what", *sorted(rows)]))
    once = ["visionbus", "train", "list.csv", "-o", "m.onnx", "--name", "mine", "--epochs", "2", "--image-size", "16"]
    once += ["--path-column", "photograph", "--label-column", "what", "--images", "shapes", "--allow-broken", "0.3"]
    subprocess.run([sys.executable, "-m", *once, "--keep-leaks", "--outside"], check=True, capture_output=True)
    first = OnnxModel(tmp_path / "m.onnx")
    again = [*shlex.split(first.provenance["command"]), "--overwrite"]
    subprocess.run([sys.executable, "-m", *again], check=True, capture_output=True)
    assert OnnxModel(tmp_path / "m.onnx").version == first.version
    assert {"--keep-leaks", "--outside"} < set(again)


def test_place_that_cannot_be_written_is_found_out_before_the_training(stripes, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        train(stripes(60), tmp_path / "missing" / "m.onnx")


@pytest.mark.parametrize("wrong", [{"output": "model"}, {"output": "model.md"}, {"repeats": 0}, {"epochs": 0}])
def test_options_out_of_range_are_refused_before_the_training(stripes, tmp_path, wrong):
    options = {"output": "m.onnx"} | wrong
    with pytest.raises(ValueError, match=r"must|at least"):
        train(stripes(60), tmp_path / options.pop("output"), **options)
    assert list(tmp_path.iterdir()) == []


def test_test_part_is_measured_once_when_all_is_fitted(tmp_path, stripes, monkeypatch):
    data, said, measured = TrainingData("stripes", SPEC, stripes(100), stripes(50, seed=1)), io.StringIO(), []
    logits_of, begin = session.logits_of, HeldOut.__init__

    def noted(dataset):
        measured.append((dataset is data.test, said.getvalue().count("epoch")))

    monkeypatch.setattr(session, "logits_of", lambda model, dataset: noted(dataset) or logits_of(model, dataset))
    monkeypatch.setattr(HeldOut, "__init__", lambda held, dataset, *rest: noted(dataset) or begin(held, dataset, *rest))
    train(data, tmp_path / "m.onnx", epochs=2, precision="fp32", console=Console(file=said, width=200))
    assert [after for of_test, after in measured if of_test] == [said.getvalue().count("epoch")]
    assert len(measured) == 3  # what is held out: while it is fitted, and for the temperature


def test_repeats_measure_each_seed_on_the_test_part_and_keep_the_first(tmp_path, stripes):
    data = TrainingData("stripes", SPEC, stripes(200), stripes(100, seed=1))
    trained = train(data, tmp_path / "m.onnx", epochs=2, seed=5, repeats=2, precision="fp32")
    figures = trained.model.figures
    assert figures["repeats"]["seeds"] == [5, 6]
    assert figures["repeats"]["accuracy"] == [round(test.accuracy, 4) for test in trained.tests]
    assert figures["test"]["images"] == 100
    assert evaluate(trained.model, data.test).confusion == trained.tests[0].confusion
    assert list(figures["per_class"]) == ["upright", "level"]


def test_data_of_single_images_is_refused(tmp_path, stripes):
    data = stripes(2)
    single = type(data)(data.images, np.array([0, 1]), data.classes)
    with pytest.raises(DatasetError, match="add images"):
        train(single, tmp_path / "m.onnx", precision="fp32")


def test_given_validation_split_is_measured_and_never_learnt(tmp_path, stripes):
    data = TrainingData("stripes", SPEC, stripes(100), validation=stripes(40, seed=1), trainval=stripes(140))
    trained = train(data, tmp_path / "m.onnx", epochs=2, precision="fp32")
    assert trained.model.figures["train"]["images"] == 100
    assert {epoch.fit for epoch in trained.history} == {"decide"}
    assert evaluate(trained.model, data.validation).confusion == trained.validation.confusion
    temperature = trained.model.figures["validation"]["temperature"]
    assert temperature != 1
    shown = evaluate(trained.model, data.validation).calibration
    assert shown.loss == pytest.approx(trained.validation.calibration.loss, abs=1e-5)
    logits = logits_of(trained.model, data.validation) * np.float32(temperature)
    assert temperature_for(logits, data.validation.labels) == pytest.approx(temperature, rel=0.01)
    again = train(data, tmp_path / "m.onnx", epochs=2, precision="fp32", refit=True)
    assert again.model.figures["train"]["images"] == 140


@pytest.mark.parametrize(
    ("leaks", "said"), [((Leak(()),), "all validation images are among the training images"), ((), "has no images")]
)
def test_validation_without_images_is_refused_and_no_other_one_is_made(tmp_path, stripes, leaks, said):
    data = TrainingData("stripes", SPEC, stripes(100), validation=stripes(100).subset(np.arange(0)), leaks=leaks)
    with pytest.raises(DatasetError, match=said):
        train(data, tmp_path / "m.onnx", epochs=1, precision="fp32")


def test_final_fit_of_many_small_images_goes_on_from_the_network_that_decided(tmp_path, stripes):
    trained = train(stripes(5600, side=8), tmp_path / "m.onnx", epochs=1, precision="fp32")
    decided, final = trained.history
    assert (decided.of, final.of, final.fit) == (1, 1, "final")
    assert final.accuracy > 0.98 > decided.accuracy
    assert trained.model.provenance["further"] == 0.6
    report = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert "the network before it learnt these images" in report


def provenance_of(data, options, network, *, typed=True):
    facts = Facts((90, 10), 10, 110, held_out=True, input=SPEC, classes=("a", "b"))
    plan = make_plan(facts, options, network, (Phase(),))
    return provenance(plan, data, Path("m.onnx"), name="m", columns=None, checks=None, typed=typed)


def test_weights_are_named_without_their_place():
    network = {"kind": "backbone", "name": "lite", "weights": "/home/me/w.pth"}
    made = provenance_of("photos", Options(weights="/home/me/w.pth"), network)
    assert "/home" not in json.dumps(made)
    assert made["command"].endswith("--backbone lite --weights w.pth")


def test_data_whose_name_begins_with_a_dash_is_no_option_in_the_command():
    assert provenance_of("-photos", Options(), {"kind": "small"})["command"].startswith("visionbus train ./-photos -o ")


@pytest.mark.parametrize(
    ("data", "typed", "begins"),
    [("arrays", False, "arrays"), ("my photos", False, "data"), ("my photos", True, "'my photos'")],
)
def test_what_no_command_can_make_again_is_told_as_a_call(data, typed, begins):
    options = Options(epochs=0.3, weights="/home/me/w.pth", refit=False)
    call = provenance_of(data, options, {"kind": "own", "own": "Mine"}, typed=typed)["command"]
    assert call == (
        f"visionbus.training.train({begins}, Path('m.onnx'), epochs=0.3, seed=0, repeats=1, precision='auto', "
        "weights=Path('w.pth'), refit=False, network=Mine)"
    )


def test_course_of_the_training_is_in_the_file_without_what_differs_each_time(trained):
    history = trained.model.figures["history"]
    assert [(entry["fit"], entry["epoch"]) for entry in history] == [
        (fit, number) for fit in ("decide", "final") for number in (1, 2, 3, 4)
    ]
    assert history[3]["validation_accuracy"] == round(trained.history[3].validation_accuracy, 4)
    assert "validation_loss" not in history[4]
    assert "seconds" not in history[0]
    assert "history" not in trained.path.with_suffix(".md").read_text(encoding="utf-8")


def test_time_budget_covers_everything(tmp_path, stripes, monkeypatch):
    monkeypatch.setattr(session.Session, "_hurried", lambda *_: False)  # a busy machine may take the final fit's time
    run, kept = session.Session.run, []
    monkeypatch.setattr(session.Session, "run", lambda one: kept.append(one) or run(one))
    began = time.monotonic()
    trained = train(stripes(5000), tmp_path / "m.onnx", epochs=100_000, time_budget=6, precision="fp32")
    assert time.monotonic() - began < 60  # of hours; on a busy machine
    assert began + 6 <= kept[0].ends + kept[0].plan.reserve <= began + 7
    assert kept[0].plan.reserve > 2
    assert sum(epoch.seconds for epoch in trained.history) < 6  # the rest is for writing
    assert trained.history[-1].fit == "final"
    assert trained.model.provenance["recipe"]["epochs"] < 100_000
    assert not (tmp_path / "m.checkpoint").exists()


def test_images_that_are_mapped_from_the_cache_give_the_model_that_those_in_memory_give(tmp_path, stripes):
    data = stripes(60, side=24)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        place = tmp_path / "photos" / data.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(place / f"{number}.png")
    versions = set()
    for memory in (0, 2**30):
        opened = open_data(tmp_path / "photos", decoding=Decoding(cache=tmp_path / "pixels", memory=memory))
        root = opened.train.images
        while isinstance(root.base, np.ndarray):
            root = root.base
        assert isinstance(root, np.memmap) is (memory == 0)
        versions.add(train(opened, tmp_path / "m.onnx", epochs=2, precision="fp32").model.version)
    assert len(versions) == 1


class Brittle(torch.nn.Module):
    """A body and a head, fitted one after the other, of which the body is spoilt by being fitted."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(torch.nn.Linear(144, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU())
        self.head = torch.nn.Linear(32, 2)

    def features(self, images):
        return self.body(images.float().flatten(1) / 255)

    def forward(self, images):
        return self.head(self.features(images))

    def phases(self):
        return [Phase(1, 1, ("head.",), features=True), Phase(0.25, 4000)]


class Sturdy(Brittle):
    """Likewise, but that it stands being fitted."""

    def phases(self):
        return [Phase(1, 1, ("head.",), features=True), Phase(0.25, 0.1)]


@pytest.mark.parametrize("refit", [True, False])
def test_fine_tuning_that_did_harm_to_what_decides_is_left_out_of_the_model(stripes, tmp_path, refit):
    fresh, said, data = Brittle(), io.StringIO(), stripes(400)
    trained = train(
        data, tmp_path / "m.onnx", network=fresh, epochs=8, precision="fp32", refit=refit, console=Console(file=said)
    )
    assert said.getvalue().count("fine-tuning made it worse on the images held out") == 1
    tuned = [epoch.fit for epoch in trained.history if not epoch.features]
    assert tuned == ["decide"] * 2
    head = [epoch for epoch in trained.history if epoch.fit == "decide" and epoch.features][-1]
    assert trained.validation.accuracy == pytest.approx(head.validation_accuracy)
    assert trained.history[-1].fit == ("final" if refit else "decide")
    assert trained.model.figures["fine_tuning"].startswith("left out")
    marked = [entry for entry in trained.model.figures["history"] if entry.get("undone")]
    assert [entry["fit"] for entry in marked] == tuned
    with torch.no_grad():
        features = fresh.eval().features(torch.from_numpy(data.images)).numpy()
    logits, given = logits_of(trained.model, data), np.column_stack([features, np.ones(len(data))])
    left = logits - given @ np.linalg.lstsq(given, logits, rcond=None)[0]
    assert np.abs(left).max() < 1e-3 * np.abs(logits).max()  # a head on the body as it was


def test_images_that_there_is_no_time_for_are_counted_and_told(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "within", lambda plan, *_: plan.for_share(0.23))
    said = io.StringIO()
    trained = train(
        stripes(400),
        tmp_path / "m.onnx",
        network=Sturdy(),
        epochs=4,
        precision="fp32",
        time_budget=600.0,
        console=Console(file=said, width=200),
    )
    figures = trained.model.figures
    told = re.search(r"(\d+) of 360 training images can be learnt, and (\d+) of 40 are held out", said.getvalue())
    assert int(told[2]) == figures["validation"]["images"] < 40
    assert figures["train"]["of"] == 400
    assert f"final, seed 0, {figures['train']['images']} images" in said.getvalue()
    assert 0 < int(told[1]) < figures["train"]["images"] < 360
    report = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert f"the model learnt from {figures['train']['images']} of 400 images" in report


def test_paths_may_be_texts(stripes, tmp_path):
    train(stripes(60), str(tmp_path / "m.onnx"), epochs=1, precision="fp32")
    assert (tmp_path / "m.html").exists()


def test_time_budget_that_is_no_number_is_refused_with_the_unit(stripes, tmp_path):
    with pytest.raises(TypeError, match="number of seconds, such as 600, not '20s'"):
        train(stripes(60), tmp_path / "m.onnx", time_budget="20s")


def test_class_in_the_place_of_a_network_is_refused_with_what_to_give(stripes, tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()

    with pytest.raises(TypeError, match=r"network=Pixels\(.*Net\(\)\)"):
        train(stripes(60), tmp_path / "m.onnx", network=Net, epochs=1)


def test_type_error_within_a_function_that_makes_a_network_is_its_own(stripes, tmp_path):
    def make(classes, spec):
        return torch.nn.Linear("eight", classes)

    with pytest.raises(TypeError) as caught:
        train(stripes(60), tmp_path / "m.onnx", network=make, epochs=1)
    assert "network=" not in str(caught.value)


@pytest.mark.parametrize("epochs", [None, 3])
def test_budget_that_suffices_for_nothing_still_gives_a_model(tmp_path, stripes, epochs):
    said = io.StringIO()
    trained = train(
        stripes(300),
        tmp_path / "m.onnx",
        epochs=epochs,
        time_budget=0.01,
        precision="fp32",
        console=Console(file=said, width=200),
    )
    assert "note: in this time, not every image can be shown once" in said.getvalue()
    assert [epoch.of for epoch in trained.history] == [1, 1]
    assert OnnxModel(tmp_path / "m.onnx").classes == ("upright", "level")


class Own(torch.nn.Module):
    """A user's network, which takes what torchvision's take."""

    def __init__(self, classes=2):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveMaxPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, classes),
        )

    def forward(self, pixels):
        return self.layers(pixels)


def test_user_s_own_network_is_trained_as_a_copy_or_made_by_a_function(tmp_path, stripes):
    network = Pixels(Own(), mean=(128.0,), deviation=(64.0,))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = train(stripes(200), tmp_path / "m.onnx", network=network, epochs=3, precision="fp32")
    assert trained.model.provenance["network"] == {"kind": "own", "own": "Pixels"}
    assert all((value == before[name]).all() for name, value in network.state_dict().items())
    seen = []

    def make(classes, spec):
        seen.append((classes, spec))
        return Pixels(Own(classes), mean=(128.0,), deviation=(64.0,))

    train(stripes(60), tmp_path / "m.onnx", network=make, epochs=1, precision="fp32", refit=False)
    assert set(seen) == {(2, SPEC)}


def test_user_s_network_for_other_images_is_refused_before_the_training(tmp_path, stripes):
    with pytest.raises(TypeError, match="Pixels"):
        train(stripes(60), tmp_path / "m.onnx", network=Own())
    assert list(tmp_path.iterdir()) == []


class Fixed(torch.nn.Module):
    """A network that takes the number of images as a number, which torch.export then fixes."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(144, 2)

    def forward(self, images):
        return self.head(images.float().reshape(len(images), -1) / 255)


def test_network_that_is_exported_for_a_fixed_number_of_images_is_refused_before_the_training(tmp_path, stripes):
    with pytest.raises(ModelError, match=r"write x.flatten\(1\)"):
        train(stripes(60), tmp_path / "m.onnx", network=Fixed())
    assert list(tmp_path.iterdir()) == []


def test_image_size_is_that_of_files_and_arrays_stay_as_they_are(tmp_path, stripes):
    folder_of_photos(tmp_path / "shapes")
    trained = train(tmp_path / "shapes", tmp_path / "m.onnx", image_size=24, epochs=1, precision="fp32", refit=False)
    assert trained.model.input == Input(24, 24, "RGB", fit="crop")
    with pytest.raises(DatasetError, match="arrays stay 12 x 12"):
        train(stripes(60), tmp_path / "m.onnx", image_size=24)
