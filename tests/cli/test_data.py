"""`visionbus data check`: what it says before any training."""

import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two classes with dirt: a broken file, a leak, a name of two lines."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 3)):
        for name in ("cats", "dogs"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{number}.png")
    (tmp_path / "photos/train/cats/broken\nname.png").write_bytes(b"")
    (tmp_path / "photos/val/dogs/copy.png").write_bytes((tmp_path / "photos/train/cats/0.png").read_bytes())
    return tmp_path / "photos"


def test_check_says_one_fact_a_line_and_names_the_sheets(run, photos):
    shown = run("data", "check", photos)
    assert shown.status == 0, shown.err
    assert shown.lines == [
        "data photos: splits train, val with a folder per class",
        "input 20 x 30 RGB stretch",
        "train 24 images: cats 12, dogs 12",
        "validation 6 images: cats 3, dogs 3",
        "note: kept out of validation and test, since they leak: 1 image",
        "note: 2 images contradict each other, the same pixels under two labels: remove the wrong ones",
        "skipped train/cats/broken name.png: the file is empty: use an image file",
        (
            "same pixels in different splits and labels: "
            "train/cats/0.png (train, cats), val/dogs/copy.png (validation, dogs)"
        ),
        "skipped 1 file, found 1 leak",
        "sheet photos-sheets/000-cats.png",
        "sheet photos-sheets/001-dogs.png",
    ]
    with Image.open("photos-sheets/000-cats.png") as sheet:
        assert sheet.width > 10 * 30


def test_sheets_never_lie_in_the_data_where_they_would_be_a_class(run, photos, monkeypatch):
    monkeypatch.chdir(photos)
    shown = run("data", "check", ".")
    assert f"sheet {photos.parent}/photos-sheets/000-cats.png" in shown.lines
    assert run("data", "check", ".").lines == shown.lines
    refused = run("data", "check", ".", "--sheets", "train/sheets")
    assert refused.status == 1
    assert "train/sheets lies in ., and its sheets would be taken for a class: name another folder" in refused.err
    assert not (photos / "train/sheets").exists()


def test_check_draws_a_bar_on_a_terminal_alone(run, photos, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert run("data", "check", photos).err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # stderr counts as a terminal
    shown = run("data", "check", photos, "--json")
    assert "decoding" in shown.err
    assert "100%" in shown.err
    assert shown.document["name"] == "photos"


def test_check_prints_one_json_document(run, photos):
    document = run("data", "check", photos, "--json", "--keep-leaks", "--sheets", "sheets").document
    assert document["splits"]["validation"] == {"cats": 3, "dogs": 4}
    assert document["skipped"][0]["name"] == "train/cats/broken\nname.png"
    assert len(document["leaks"][0]) == 2
    assert document["sheets"] == ["sheets/000-cats.png", "sheets/001-dogs.png"]


def test_check_stops_at_more_broken_files_than_are_allowed(run, photos):
    shown = run("data", "check", photos, "--allow-broken", "0.01")
    assert shown.status == 1
    assert "--allow-broken 0.04" in shown.err


def test_check_reads_a_table_by_the_columns_that_are_named(run, photos):
    rows = "".join(
        f"{name}/{n}.png,{name},{'test' if n < 2 else 'train'}\n" for name in ("cats", "dogs") for n in range(12)
    )
    (photos.parent / "t.csv").write_text(f"where,what,fold\n{rows}")
    columns = ["--path-column", "where", "--label-column", "what", "--split-column", "fold"]
    shown = run("data", "check", photos.parent / "t.csv", *columns, "--images", photos / "train")
    assert shown.lines[0] == "data t: CSV with path in 'where', label in 'what', split in 'fold'"
    assert "test 4 images: cats 2, dogs 2" in shown.lines
    assert "no column 'who'" in run("data", "check", photos.parent / "t.csv", "--path-column", "who").err


def test_check_of_a_csv_without_a_header_says_so(run, photos):
    rows = "".join(f"{name}/{n}.png,{name}\n" for name in ("cats", "dogs") for n in range(12))
    (photos / "train" / "t.csv").write_text(rows)
    shown = run("data", "check", photos / "train" / "t.csv")
    assert shown.lines[0] == "data t: CSV without a header, with path in 'column 1', label in 'column 2'"


def test_check_of_a_parquet_file_without_pyarrow_prints_the_pip_line(run, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (photos / "t.parquet").write_bytes(b"PAR1")
    shown = run("data", "check", photos / "t.parquet")
    assert (shown.status, shown.lines) == (1, [])
    assert shown.err.startswith("visionbus: error: pyarrow is not installed: ")
    assert " -m pip install " in shown.err
    assert shown.err.endswith("[parquet]'\n")


def test_check_of_many_classes_names_the_first_and_counts_the_rest(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.concatenate([np.zeros(10, int), np.arange(1, 50)])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 2, 2), dtype=np.uint8)
    np.savez("many.npz", images=images, labels=labels)
    shown = run("data", "check", "many.npz")
    assert shown.lines[2].startswith("train 58 images: 0 9, 1 1, ")
    assert shown.lines[2].endswith("18 1, 19 1, and 30 more classes, 1 to 9 images in each of all")
    assert "note: '1' has one image in train" in shown.lines
    assert "note: '20' has one image in train" in shown.lines
    assert "note: 29 more classes have one image in train" in shown.lines
    assert any(line.startswith("note: validation has no image of 1, 2, 3, 4, 5 and 44 more: ") for line in shown.lines)
    assert shown.lines[-1] == "and 30 more sheets in many-sheets"
    assert len(run("data", "check", "many.npz", "--json").document["sheets"]) == 50


def test_check_of_images_that_are_all_the_same_names_the_first(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("same.npz", images=np.zeros((50, 2, 2), np.uint8), labels=np.arange(50) % 2)
    shown = run("data", "check", "same.npz", "--sheets", "sheets")
    (leak,) = (line for line in shown.lines if line.startswith("same pixels in different splits and labels: "))
    assert leak.endswith(", and 30 more")
    assert leak.count("image ") == 20
