"""`visionbus evaluate`, with the shipped model."""

import subprocess

import pytest

from visionbus.vision.onnx import OnnxModel, default_model


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


def test_evaluate_measures_the_shipped_model_unless_another_is_named(run, images):
    other = images / "other.onnx"
    other.write_bytes(default_model().read_bytes().replace(b'"fashion-mnist"', b'"another-model"'))
    named, shipped = run("evaluate", other, images, "--json"), run("evaluate", images, "--json")
    assert (named.status, shipped.status) == (0, 0)
    assert named.document["model"]["name"] == "another-model"
    assert shipped.document["model"] == {"name": "fashion-mnist", "version": OnnxModel(default_model()).version}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "MODEL"),
        (["model.onnx"], "no DATA to measure model.onnx on"),
        (["a", "b", "c"], "3 arguments: name a model"),
    ],
)
def test_evaluate_of_too_little_or_too_much_is_wrong_usage(run, words, said):
    shown = run("evaluate", *words)
    assert shown.status == 2
    assert said in shown.err


def test_evaluate_of_data_that_is_not_there_names_the_cure(run):
    outcome = run("evaluate", default_model(), "fashion-minst")
    assert outcome.status == 1
    assert outcome.err == (
        "visionbus: error: fashion-minst does not exist: name fashion-mnist, or a folder with one subfolder per class"
        ", or a .csv, .tsv, .parquet, .npz or IDX file\n"
    )


def test_more_broken_files_than_are_allowed_are_an_error_that_names_the_option(run, images):
    for number in range(3):
        (images / "Bag" / f"broken-{number}.png").write_bytes(b"no image")
    shown = run("evaluate", images)
    assert shown.status == 1
    assert "--allow-broken" in shown.err
    assert run("evaluate", images, "--allow-broken", "0.9").status == 0


@pytest.mark.slow
def test_files_that_cannot_be_read_are_named_on_stderr_and_left_out(visionbus, images):
    (images / "Bag" / "broken-0.png").write_bytes(b"no image")
    command = [*visionbus, "evaluate", images, "--allow-broken", "0.9"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "skipped Bag/broken-0.png: " in done.stderr
    assert "images 4" in done.stdout.splitlines()


def test_report_has_the_name_of_the_model_and_is_not_replaced_unless_told(run, images):
    model = images / "photos.onnx"
    model.write_bytes(default_model().read_bytes())
    data = images.parent / "data"
    data.mkdir()
    for name in ("Bag", "Ankle boot"):
        (images / name).rename(data / name)
    shown = run("evaluate", model, data, "--report")
    page = images / "photos.html"
    assert (shown.status, shown.lines[-1]) == (0, f"report {page}")
    text = page.read_text(encoding="utf-8")
    assert f"visionbus evaluate {model} {data} --report {page}" in text
    assert "all of it was measured" in text
    again = run("evaluate", model, data, "--report")
    assert again.status == 1
    assert f"{page} exists: name another file by --report FILE, or replace it with --overwrite" in again.err
    assert run("evaluate", model, data, "--report", "--overwrite").status == 0


def test_report_on_the_shipped_model_is_written_here_and_named_in_the_document(run, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = run("evaluate", images, "--allow-broken", "0.5", "--json", "--report").document
    assert document["report"] == "fashion-mnist.html"
    assert document["interval"][0] <= document["accuracy"] <= document["interval"][1]
    assert "--allow-broken 0.5 --report fashion-mnist.html" in (tmp_path / "fashion-mnist.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("named", "status", "said"),
    [("model.onnx", 2, "the report must end in .html, not 'model.onnx'"), ("missing/x.html", 1, "no folder missing")],
)
def test_report_goes_nowhere_but_to_a_new_page(run, images, named, status, said):
    shown = run("evaluate", images, "--report", named)
    assert shown.status == status
    assert said in shown.err


def test_evaluate_refuses_columns_of_what_is_no_table(run):
    shown = run("evaluate", "fashion-mnist", "--label-column", "y")
    assert shown.status == 1
    assert "columns, and the folder of a table's images, are for .csv" in shown.err


def test_evaluate_takes_the_columns_of_a_table(run, images, tmp_path):
    table = tmp_path / "katalog.csv"
    rows = [f"{path.relative_to(images)};{path.parent.name}" for path in sorted(images.rglob("*.png"))]
    table.write_text("\n".join(["Bild Datei;Art des Bildes", *rows]), encoding="utf-8")
    columns = ("--path-column", "Bild Datei", "--label-column", "Art des Bildes", "--images", images)
    assert run("evaluate", default_model(), table, *columns, "--json").document["images"] == len(rows) > 0
    assert run("evaluate", default_model(), table, *columns, "--report", tmp_path / "page.html").status == 0
    assert "--path-column &#39;Bild Datei&#39;" in (tmp_path / "page.html").read_text(encoding="utf-8")
