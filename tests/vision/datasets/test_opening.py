"""Every layout that may be opened, and every oddity: each has a clear outcome."""

import os
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import Dataset, DatasetError, Input
from visionbus.vision.datasets import (
    Checks,
    Columns,
    Decoding,
    Holdout,
    fashion_mnist,
    load_evaluation_data,
    open_data,
)
from visionbus.vision.images import load


def put_image(path, brightness=None):
    """Write an image; no two are the same unless a brightness is given."""
    put_image.count = getattr(put_image, "count", 0) + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(put_image.count).integers(0, 256, (4, 6), dtype=np.uint8)
    Image.fromarray(pixels if brightness is None else pixels * 0 + brightness).save(path, "PNG")


def fill(folder, classes=("cats", "dogs"), count=10):
    for name in classes:
        for number in range(count):
            put_image(folder / name / f"{number}.png")
    return folder


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def notes(data):
    return " | ".join(data.notes)


def test_folder_per_class_gets_a_stratified_validation_split_which_is_said(tmp_path):
    data = open_data(fill(tmp_path))
    assert np.bincount(data.train.labels).tolist() == [9, 9]
    assert np.bincount(data.validation.labels).tolist() == [1, 1]
    assert data.test is None
    assert "no validation split is given: 0.1 of each class" in notes(data)
    assert len(data.trainval) == 20
    assert not set(data.train.names) & set(data.validation.names)


def test_same_seed_holds_out_the_same_images(tmp_path):
    fill(tmp_path)
    held = [open_data(tmp_path, holdout=Holdout(0.3, seed)).validation.names for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev", "Val"])
def test_splits_are_told_by_their_names(tmp_path, name):
    fill(tmp_path / "train")
    fill(tmp_path / name, count=3)
    fill(tmp_path / "test", count=2)
    data = open_data(tmp_path)
    assert {part: len(dataset) for part, dataset in data.parts.items()} == {"train": 20, "validation": 6, "test": 4}
    assert data.layout.startswith("splits ")
    assert "no validation split" not in notes(data)


def test_class_may_be_called_train(tmp_path):
    assert open_data(fill(tmp_path, ("car", "train"))).train.classes == ("car", "train")


def test_class_that_training_lacks_is_left_out_of_the_test_and_said(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", ("cats", "fish"), 2)
    data = open_data(tmp_path)
    assert len(data.test) == 2
    assert "'fish' has no training images" in notes(data)


def test_folder_that_is_no_split_is_named(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    fill(tmp_path / "unlabelled")
    assert "unlabelled is no split" in notes(open_data(tmp_path))


def test_split_without_folders_of_classes_is_named(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    fill(tmp_path, ("valid",))
    data = open_data(tmp_path)
    assert "valid has no folder per class, so it is not read" in notes(data)
    assert data.held_out or "validation" not in data.parts


def test_litter_and_stray_text_are_no_classes_and_no_errors(tmp_path):
    fill(tmp_path)
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "cats/labels.json", "cats/.hidden.png", "__MACOSX/cats/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    data = open_data(tmp_path)
    assert data.train.classes == ("cats", "dogs")
    assert data.skipped == ()


def test_names_with_spaces_emoji_and_newlines_are_read(tmp_path):
    fill(tmp_path, ("old cats", "\N{DOG FACE}", "two\nlines"))
    put_image(tmp_path / "old cats" / "a b\n\N{CAT FACE}.png")
    assert len(open_data(tmp_path).trainval) == 31


def test_empty_folder_is_refused_with_the_cure(tmp_path):
    with pytest.raises(DatasetError, match="make one subfolder per class"):
        open_data(tmp_path)


def test_empty_class_is_said_and_no_class(tmp_path):
    fill(tmp_path)
    (tmp_path / "fish").mkdir()
    data = open_data(tmp_path)
    assert data.train.classes == ("cats", "dogs")
    assert "fish has no images" in notes(data)


def test_one_class_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="one class only, 'cats'"):
        open_data(fill(tmp_path, ("cats",)))


def test_single_image_of_a_class_stays_in_training(tmp_path):
    fill(tmp_path)
    put_image(tmp_path / "fish" / "1.png")
    data = open_data(tmp_path)
    assert (data.train.labels == 2).sum() == 1
    assert (data.validation.labels == 2).sum() == 0
    assert "validation has no image of fish: nothing is known of how well it is found" in data.notes


def test_links_out_of_the_folder_are_named_and_read_only_when_allowed(tmp_path):
    put_image(tmp_path / "private" / "1.png")
    folder = fill(tmp_path / "data")
    (folder / "cats" / "link.png").symlink_to(tmp_path / "private" / "1.png")
    (folder / "cats" / "inner.png").symlink_to(folder / "cats" / "0.png")
    (skipped,) = open_data(folder).skipped
    assert skipped.name == "cats/link.png"
    assert "outside of the data's folder" in skipped.reason
    assert open_data(folder, checks=Checks(outside=True)).skipped == ()


def test_loops_and_dead_links_are_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "cats" / "a.png").symlink_to(tmp_path / "cats" / "b.png")
    (tmp_path / "cats" / "b.png").symlink_to(tmp_path / "cats" / "a.png")
    (tmp_path / "cats" / "loop").symlink_to(tmp_path)
    (tmp_path / "dogs" / "dead.png").symlink_to("nowhere")
    data = open_data(tmp_path, checks=Checks(allow_broken=0.5))
    reasons = {one.name: one.reason for one in data.skipped}
    assert set(reasons) == {"cats/a.png", "cats/b.png", "dogs/dead.png"}
    assert "leads nowhere" in reasons["dogs/dead.png"]
    assert "cats/loop is a link to a folder, which is not followed" in notes(data)


def test_pipe_is_named_and_not_opened(tmp_path):
    os.mkfifo(fill(tmp_path) / "cats" / "pipe.png")
    assert [one.name for one in open_data(tmp_path).skipped] == ["cats/pipe.png"]


def test_more_broken_files_than_the_share_stop_with_the_cure(tmp_path):
    fill(tmp_path, count=4)
    for number in range(2):
        (tmp_path / "cats" / f"bad{number}.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"2 of 10 files .*cats/bad0.png: the file is empty.*--allow-broken 0.2"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, checks=Checks(allow_broken=0.2)).skipped) == 2


def test_leaks_are_listed_and_kept_out_of_the_measuring_splits(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val")
    fill(tmp_path / "test")
    put_image(tmp_path / "train" / "cats" / "a.png", 7)
    put_image(tmp_path / "val" / "cats" / "b.png", 7)
    put_image(tmp_path / "test" / "dogs" / "c.png", 7)
    put_image(tmp_path / "train" / "cats" / "d.png", 9)
    put_image(tmp_path / "train" / "cats" / "e.png", 9)
    data = open_data(tmp_path)
    (leak,) = data.leaks
    assert leak.across_splits
    assert leak.across_labels
    assert {place.name for place in leak.places} == {"train/cats/a.png", "val/cats/b.png", "test/dogs/c.png"}
    assert [len(part) for part in data.parts.values()] == [23, 20, 20]
    assert "copies within one split and class: 1" in notes(data)
    kept = open_data(tmp_path, checks=Checks(keep_leaks=True))
    assert [len(part) for part in kept.parts.values()] == [23, 21, 21]


def test_image_of_both_validation_and_test_stays_in_validation(tmp_path):
    for part in ("train", "val", "test"):
        fill(tmp_path / part)
    put_image(tmp_path / "val" / "cats" / "a.png", 7)
    put_image(tmp_path / "test" / "cats" / "a.png", 7)
    data = open_data(tmp_path)
    assert {part: len(dataset) for part, dataset in data.parts.items()} == {"train": 20, "validation": 21, "test": 20}
    assert "val/cats/a.png" in data.validation.names


def test_image_under_two_labels_of_the_test_measures_nothing(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    put_image(tmp_path / "test" / "cats" / "a.png", 7)
    put_image(tmp_path / "test" / "dogs" / "a.png", 7)
    assert len(open_data(tmp_path).test) == 20


def table(folder, text, name="labels.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def rows(count=10):
    return "".join(f"{name}/{number}.png,{name}\n" for name in ("cats", "dogs") for number in range(count))


@pytest.mark.parametrize("header", ["path,label", "filename,class", "Image,Species", "\ufefffile_name,category"])
def test_csv_columns_are_guessed(tmp_path, header):
    data = open_data(table(fill(tmp_path), f"{header}\n{rows()}"))
    assert (len(data.trainval), data.train.classes) == (20, ("cats", "dogs"))


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_table_may_have_any_usual_delimiter_and_suffix(tmp_path, delimiter, name):
    text = f"path,label\n{rows()}".replace(",", delimiter)
    assert len(open_data(table(fill(tmp_path), text, name)).trainval) == 20


def test_csv_columns_may_be_given_and_paths_start_elsewhere(tmp_path):
    fill(tmp_path / "images")
    found = open_data(
        table(tmp_path, f"where,what\n{rows()}"), columns=Columns("where", "what", folder=tmp_path / "images")
    )
    assert len(found.trainval) == 20


def test_csv_splits_are_heeded(tmp_path):
    fill(tmp_path)
    text = "".join(
        f"{name}/{n}.png,{name},{'test' if n < 3 else 'train'}\n" for name in ("cats", "dogs") for n in range(10)
    )
    data = open_data(table(tmp_path, f"path,label,split\n{text}"))
    assert len(data.test) == 6


def test_csv_row_with_an_unknown_split_is_named(tmp_path):
    fill(tmp_path)
    text = rows().replace("\n", ",train\n").replace("dogs/3.png,dogs,train", "dogs/3.png,dogs,foo")
    data = open_data(table(tmp_path, f"path,label,split\n{text}"))
    assert [(one.name, one.reason) for one in data.skipped] == [
        ("row 15: dogs/3.png", "'foo' is no split: write train, validation or test")
    ]
    assert len(data.trainval) == 19


def test_csv_rows_that_cannot_be_used_are_named(tmp_path):
    fill(tmp_path / "data")
    put_image(tmp_path / "secret.png")
    bad = f"gone.png,cats\n../secret.png,cats\n{tmp_path}/secret.png,dogs\ncats/1.png,\n,cats\n"
    data = open_data(table(tmp_path / "data", f"path,label\n{rows()}{bad}"), checks=Checks(allow_broken=0.5))
    reasons = [one.reason for one in data.skipped]
    assert "no such file" in reasons[0]
    assert [one.name.partition(": ")[0] for one in data.skipped] == [f"row {n}" for n in range(22, 27)]
    assert all("out" in reason for reason in reasons[1:3])
    assert "no label" in reasons[3]
    assert "names no file" in reasons[4]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "none is known as the path"),
        (b"path,other\n1,2\n", "none is known as the label"),
        (b"x" * 5000 + b",cats\n", "none is known as the path"),
        (b"a\0b,cats\n", "none is known as the path"),
        (b"path,label\n\xff\xfe,1\n", "not UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b"\n", "not a usable CSV"),
        (b"path,label\n" + b"x" * 2_000_000 + b"\n", "line of"),
        (b"path,label\ngone.png,cats\n", "names no image that can be used"),
    ],
)
def test_unusable_csv_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        open_data(tmp_path / "labels.csv")


@pytest.mark.parametrize("text", [rows(), rows().replace(",", ";"), "gone.JPG,cats\n" + rows()])
def test_csv_without_a_header_is_path_and_label_by_position_which_is_said(tmp_path, text):
    data = open_data(table(fill(tmp_path), text))
    assert (len(data.trainval), data.train.classes) == (20, ("cats", "dogs"))
    assert data.layout == "CSV without a header, with path in 'column 1', label in 'column 2'"
    assert [one.name for one in data.skipped] == (["row 1: gone.JPG"] if "gone" in text else [])


def test_csv_whose_files_have_no_suffix_may_lack_a_header_too(tmp_path):
    fill(tmp_path)
    for name in ("cats", "dogs"):
        for path in (tmp_path / name).iterdir():
            path.rename(path.with_suffix(""))
    assert len(open_data(table(tmp_path, rows().replace(".png", ""))).trainval) == 20


@pytest.mark.parametrize("columns", [Columns(label="kind"), Columns(folder=Path("photos"))])
def test_columns_of_what_is_no_table_are_refused(tmp_path, columns):
    with pytest.raises(DatasetError, match="leave them out"):
        open_data(fill(tmp_path), columns=columns)


def test_csv_without_a_header_needs_two_columns_and_no_column_named(tmp_path):
    fill(tmp_path)
    with pytest.raises(DatasetError, match="none is known as the path"):
        open_data(table(tmp_path, "cats/0.png\ncats/1.png\n"))
    with pytest.raises(DatasetError, match="has no column 'where'"):
        open_data(table(tmp_path, rows()), columns=Columns(path="where"))


def test_csv_may_name_files_with_newlines_commas_and_emoji(tmp_path):
    fill(tmp_path)
    put_image(tmp_path / "cats" / "a,b\n\N{CAT FACE}.png")
    data = open_data(table(tmp_path, f'path,label\n{rows()}"cats/a,b\n\N{CAT FACE}.png",cats\n'))
    assert len(data.trainval) == 21


def test_parquet_without_pyarrow_names_the_pip_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(ImportError, match=re.escape("python -m pip install 'visionbus[parquet]'")):
        open_data(tmp_path / "labels.parquet")


def test_parquet_is_read_like_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    fill(tmp_path)
    names = [f"{name}/{n}.png" for name in ("cats", "dogs") for n in range(10)]
    labels = [0.0] * 10 + [1.0] * 9 + [None]
    parquet.write_table(pyarrow.table({"path": names, "label": labels}), tmp_path / "labels.parquet")
    data = open_data(tmp_path / "labels.parquet")
    assert data.train.classes == ("0", "1")
    assert "no label" in data.skipped[0].reason
    (tmp_path / "labels.parquet").write_bytes(b"junk")
    with pytest.raises(DatasetError, match="not a usable Parquet file"):
        open_data(tmp_path / "labels.parquet")


def pixels(count=20, channels=1):
    return np.random.default_rng(0).integers(0, 256, (count, 5, 6, channels), dtype=np.uint8)


LABELS = np.arange(20) % 2


def test_npz_of_splits_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=pixels(), y_train=LABELS, x_test=255 - pixels(), y_test=LABELS, other=LABELS)
    data = open_data(tmp_path / "a.npz")
    assert (len(data.trainval), len(data.test), data.input) == (20, 20, Input(5, 6, "L"))
    assert "'other' is not used" in notes(data)


def test_npz_of_objects_is_refused_without_running_them(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.savez(tmp_path / "a.npz", images=np.array([Bomb()] * 20, object), labels=LABELS)
    with pytest.raises(DatasetError, match="Python objects"):
        open_data(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


def test_npz_that_is_damaged_or_has_other_names_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"junk")
    with pytest.raises(DatasetError, match=r"not a usable \.npz"):
        open_data(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", foo=LABELS)
    with pytest.raises(DatasetError, match="name them images and labels"):
        open_data(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.full((20, 5, 6), np.nan), "not finite .* in 20 images, first in number 0"),
        (np.linspace(-1, 1, 600).reshape(20, 5, 6), "from -1 to 1"),
        (np.full((20, 5, 6), 300), "from 300 to 300"),
        (np.zeros((20, 30)), "has shape"),
        (np.zeros((20, 5, 6, 2), np.uint8), "has shape"),
        (np.zeros((20, 5, 6), complex), "of type complex"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images, reason):
    with pytest.raises(DatasetError, match=reason):
        open_data((images, LABELS))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (LABELS[:5], "one label for each"),
        (np.eye(20), "one label for each"),
        (LABELS - 1, "at least 0"),
        (LABELS + 0.5, "whole number"),
        (np.where(LABELS, np.nan, 0), "whole number"),
        (LABELS * 0, "one class only, '0'"),
    ],
)
def test_labels_that_make_no_sense_are_refused(labels, reason):
    with pytest.raises(DatasetError, match=reason):
        open_data((pixels(), labels))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (pixels() / 255, pixels()),
        (pixels().astype(np.float32), pixels()),
        (pixels().astype(np.uint16) * 257, pixels()),
        (pixels()[..., 0], pixels()),
        (np.moveaxis(pixels(channels=3), 3, 1), pixels(channels=3)),
        (pixels() > 100, (pixels() > 100) * 255),
    ],
)
def test_arrays_become_bytes_with_channels_last(images, expected):
    data = open_data((images, LABELS), holdout=Holdout(0))
    assert (data.train.images == expected).all()


def test_labels_may_be_texts_or_numbers_with_gaps():
    assert open_data((pixels(), np.array(["cat", "dog"])[LABELS])).train.classes == ("cat", "dog")
    assert open_data((pixels(), LABELS[:, None] * 8 + 2)).train.classes == ("2", "10")


def test_labels_that_match_no_class_are_refused():
    with pytest.raises(DatasetError, match="match no class, such as '7'"):
        open_data((pixels(), LABELS * 7), classes=("a", "b"))


def test_table_with_a_label_that_is_not_among_the_classes_is_refused(tmp_path):
    path = table(fill(tmp_path), f"path,label\n{rows()}cats/0.png,fish\n")
    with pytest.raises(DatasetError, match="has the labels fish, which are not among the classes: cats, dogs"):
        open_data(path, classes=("cats", "dogs"))


def test_fashion_mnist_is_opened_by_its_name_with_its_test_split_and_class_names(tmp_path, small, put):
    put(tmp_path / "usr")
    data = open_data("fashion-mnist")
    assert (data.name, data.layout, data.input) == ("fashion-mnist", "Fashion-MNIST", Input(28, 28, "L"))
    assert (len(data.train) + len(data.validation), len(data.trainval)) == (30, 30)
    assert (data.test.images == fashion_mnist("test").images).all()
    assert data.train.classes == data.test.classes == fashion_mnist("test").classes


@pytest.mark.parametrize("named", ["folder", "file"])
def test_idx_files_are_read_with_their_test_split(tmp_path, put, named):
    put(tmp_path / "mnist")
    data = open_data(tmp_path / "mnist" / ("" if named == "folder" else "train-images-idx3-ubyte.gz"))
    assert (len(data.trainval), len(data.test), data.layout) == (30, 20, "IDX files")


def test_idx_labels_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels()[..., 0]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:5].astype(np.uint8)))
    with pytest.raises(DatasetError, match="one label for each"):
        open_data(tmp_path)


def test_data_set_and_any_object_of_arrays_are_taken():
    dataset = Dataset(pixels(), LABELS, ("a", "b"), tuple(map(str, range(20))))
    assert open_data(dataset).train.classes == ("a", "b")

    class Mine:
        images, labels = pixels(), LABELS

    assert len(open_data(Mine()).trainval) == 20


@pytest.mark.parametrize("memory", [2**30, 1])
def test_stream_is_taken_into_memory_or_mapped(memory):
    stream = list(zip(pixels(), ["a", "b"] * 10, strict=True))
    data = open_data(stream, holdout=Holdout(0), decoding=Decoding(memory=memory))
    assert (data.train.images == pixels()).all()
    assert data.train.classes == ("a", "b")


def test_stream_of_files_goes_on_without_broken_ones_up_to_the_share_that_is_let_pass(tmp_path):
    fill(tmp_path, count=5)
    files = [(path.read_bytes(), path.parent.name) for path in sorted(tmp_path.glob("*/*"))]
    files[3] = (files[3][0][:40], files[3][1])
    data = open_data(files, Input(4, 6, "L"), holdout=Holdout(0), checks=Checks(allow_broken=0.1))
    assert [one.name for one in data.skipped] == ["image 3"]
    assert data.train.names == tuple(f"image {number}" for number in range(10) if number != 3)
    assert (data.train.images[-1] == load(files[9][0], data.input)).all()
    with pytest.raises(DatasetError, match=r"1 of 10 files in stream are broken.*\(image 3: "):
        open_data(files, Input(4, 6, "L"), checks=Checks(allow_broken=0.09))
    with pytest.raises(DatasetError, match=r"all images of the stream are broken, such as image 0: "):
        open_data([files[3]], Input(4, 6, "L"))


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ([], "no images"),
        ([(pixels()[0], 0), (pixels()[0, :3], 1)], "has shape"),
        ([(1.5, 0)], "yield uint8"),
        ([(b"x", 0)], "what to fit them to"),
    ],
)
def test_stream_that_cannot_be_used_is_refused(stream, reason):
    with pytest.raises(DatasetError, match=reason):
        open_data(stream)


def test_evaluation_takes_the_test_split(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", count=3)

    assert len(load_evaluation_data(Anything("cats", "dogs"), tmp_path)) == 6


@pytest.mark.parametrize(("learnt", "told"), [("photos", True), ("others", False), (None, False)])
def test_measuring_on_what_was_learnt_is_told(tmp_path, caplog, learnt, told):
    model = Anything("cats", "dogs")
    model.figures = {"dataset": learnt}
    load_evaluation_data(model, fill(tmp_path / "photos"))
    assert ("has learnt from data called photos" in caplog.text) == told


def test_copy_of_a_training_image_measures_nothing_though_its_label_is_right(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    put_image(tmp_path / "train" / "cats" / "a.png", 7)
    put_image(tmp_path / "test" / "cats" / "a.png", 7)
    assert len(open_data(tmp_path).test) == 20


class Anything:
    """What a model says of its input and classes."""

    def __init__(self, *classes, spec=None):
        self.classes, self.input = classes, spec or Input(4, 6, "L")


def arrays(count, channels=1):
    return np.random.default_rng(5).integers(0, 256, (count, 4, 6, channels), dtype=np.uint8)


def test_labels_of_data_that_names_its_classes_are_measured_by_these_names():
    data = Dataset(arrays(4), np.array([0, 1, 1, 1]), ("dog", "cat"))
    assert load_evaluation_data(Anything("cat", "dog"), data).labels.tolist() == [1, 0, 0, 0]
    with pytest.raises(DatasetError, match="match no class, such as 'cat'"):
        load_evaluation_data(Anything("a", "b"), data)


def test_fashion_mnist_is_not_measured_by_a_model_of_ten_other_classes(tmp_path, small, put):
    put(tmp_path / "usr")
    with pytest.raises(DatasetError, match="match no class"):
        open_data("fashion-mnist", classes=tuple("0123456789"))


@pytest.mark.parametrize(
    ("classes", "labels", "indices"),
    [
        (("1", "2", "3"), [1, 3, 1], [0, 2, 0]),  # as where training has had these numbers
        (("a", "b", "c"), [0, 2, 0], [0, 2, 0]),
        (("1", "2", "3"), [0, 2, 0], [0, 2, 0]),
    ],
)
def test_numbers_are_names_of_classes_that_are_called_so_and_indices_elsewhere(classes, labels, indices):
    found = load_evaluation_data(Anything(*classes), (arrays(3), np.array(labels)))
    assert found.labels.tolist() == indices


def test_texts_in_an_array_of_objects_are_labels():
    data = open_data((arrays(4), np.array(["b", "a", "a", "b"], dtype=object)), holdout=Holdout(0))
    assert (data.train.classes, data.train.labels.tolist()) == (("a", "b"), [1, 0, 0, 1])


def test_bytes_in_an_npz_name_classes(tmp_path):
    np.savez(tmp_path / "x.npz", x=arrays(4), y=[0, 1, 1, 0], classes=np.array([b"cat", "h\u00fcnd".encode()]))
    assert open_data(tmp_path / "x.npz").train.classes == ("cat", "h\u00fcnd")


def test_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    fill(tmp_path, ("cats", "dogs", "owls"))
    scan = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("owls"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    (skipped,) = open_data(tmp_path, holdout=Holdout(0)).skipped
    assert (skipped.name, skipped.reason) == ("owls", "the folder cannot be read: Permission denied")


def test_same_relative_path_in_another_folder_is_other_data(tmp_path, monkeypatch):
    for place in ("here", "there"):
        fill(tmp_path / place / "photos")
        monkeypatch.chdir(tmp_path / place)
        assert len(open_data("photos").trainval) == 20


def test_link_in_the_place_of_a_folder_that_was_read_is_noticed(tmp_path):
    fill(tmp_path / "data" / "train")
    assert not open_data(tmp_path / "data").skipped
    fill(tmp_path / "else")
    (tmp_path / "data" / "train").rename(tmp_path / "gone")
    (tmp_path / "data" / "train").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "data" / "train" / name).symlink_to(tmp_path / "else" / name)
    lines = [f"train/{name}/{number}.png,{name}\n" for name in ("cats", "dogs") for number in range(10)]
    (tmp_path / "data" / "t.csv").write_text("path,label\n" + "".join(lines))
    with pytest.raises(DatasetError, match="lies outside of the data's folder"):
        open_data(tmp_path / "data" / "t.csv")


def test_rows_of_a_csv_are_numbered_as_an_editor_does(tmp_path):
    fill(tmp_path)
    rows = [f"{name}/{number}.png,{name}" for name in ("cats", "dogs") for number in range(10)]
    (tmp_path / "t.csv").write_text("path,label\n\n" + "\n".join(rows) + "\n\ncats/gone.png,cats\n")
    (skipped,) = open_data(tmp_path / "t.csv").skipped
    assert skipped.name == "row 24: cats/gone.png"
    (tmp_path / "cats" / "9.png").write_bytes(b"no image")
    broken, _ = sorted(open_data(tmp_path / "t.csv").skipped, key=lambda one: one.name)
    assert broken.name == "row 12: cats/9.png"


def test_parquet_that_is_larger_in_memory_than_it_says_is_refused(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is missing, so Parquet is NOT tested")
    from pyarrow import parquet  # noqa: PLC0415 (it may be missing)

    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 300), pyarrow.array(["x" * 100_000]))
    columns = {"path": [f"{n}.png" for n in range(300)], "label": ["a", "b"] * 150, "text": text}
    monkeypatch.setattr("visionbus.vision.datasets.tables._MAX_BYTES", 20 * 100_000)
    for schema in (True, False):  # with it, the text is in memory once, too, until its rows are read
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet", store_schema=schema)
        with pytest.raises(DatasetError, match="unpacks to more than 2000000 bytes: leave out the pixels"):
            open_data(tmp_path / "t.parquet")


def npy(header):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr':'<U0','fortran_order':False,'shape':(1" + "0" * 30 + ",)}",
        "{'descr':'|u1','fortran_order':False,'shape':(0,1" + "0" * 30 + ")}",
        "{'descr':'|u1','fortran_order':False,'shape':(True,True)}",
        "{'descr':('<f4',),'fortran_order':False,'shape':(0,)}",
        "{'descr':(",
        "-" * 9000 + "1",
        "{1:2}",
        "{[]:1}",
    ],
    ids=range(8),
)
def test_npz_with_a_header_of_nonsense_is_refused_in_a_short_text(tmp_path, header):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy(header))
        archive.writestr("labels.npy", npy(header))
    with pytest.raises(DatasetError, match=r"no usable header in images\.npy") as caught:
        open_data(tmp_path / "a.npz")
    assert len(str(caught.value)) < 300


def test_parquet_of_pixels_is_refused_in_a_short_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is missing, so Parquet is NOT tested")
    from pyarrow import parquet  # noqa: PLC0415 (it may be missing)

    images = [{"bytes": bytes(5000), "path": "a.png"}] * 2
    parquet.write_table(pyarrow.table({"image": images, "label": ["a", "b"]}), tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match=r"row 1: its path: it is no text: write the images to files") as caught:
        open_data(tmp_path / "t.parquet")
    assert len(str(caught.value)) < 400


def put_idx(folder, form, splits=("train", "t10k"), count=30):
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    for split in splits:
        images = random.integers(0, 256, (count, 4, 6), dtype=np.uint8)
        (folder / form.format(split, "images", 3)).write_bytes(idx(images))
        (folder / form.format(split, "labels", 1)).write_bytes(idx((np.arange(count) % 3).astype(np.uint8)))


@pytest.mark.parametrize(
    "form",
    ["{}-{}.idx{}-ubyte", "{}-{}-idx{}-ubyte", "emnist-letters-{}-{}-idx{}-ubyte", "my-images-{}-{}-idx{}-ubyte"],
)
def test_idx_files_may_be_called_in_any_usual_way(tmp_path, form):
    put_idx(tmp_path, form)
    for source in (tmp_path, tmp_path / form.format("train", "images", 3), tmp_path / form.format("t10k", "labels", 1)):
        data = open_data(source)
        assert (len(data.trainval), len(data.test)) == (30, 30)


def test_idx_files_of_several_data_sets_are_told_apart_by_a_file_s_name(tmp_path):
    put_idx(tmp_path, "a-{}-{}-idx{}-ubyte")
    put_idx(tmp_path, "b-{}-{}-idx{}-ubyte", count=60)
    with pytest.raises(DatasetError, match="several data sets: name a file of one of them"):
        open_data(tmp_path)
    assert len(open_data(tmp_path / "b-train-images-idx3-ubyte").trainval) == 60


def test_idx_files_in_the_present_folder_are_called_as_it(tmp_path, monkeypatch):
    put_idx(tmp_path / "digits", "{}-{}-idx{}-ubyte")
    monkeypatch.chdir(tmp_path / "digits")
    assert open_data(".").name == "digits"


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_test_set_alone_is_measured_and_not_learnt(tmp_path, kind):
    if kind == "npz":
        source = tmp_path / "t.npz"
        np.savez(source, x_test=arrays(6), y_test=[0, 1, 2, 0, 1, 2])
    else:
        source = tmp_path
        put_idx(tmp_path, "{}-{}-idx{}-ubyte", splits=("t10k",), count=6)
    assert load_evaluation_data(Anything("0", "1", "2"), source).labels.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(DatasetError, match="has no training images: give some, called train where there are splits"):
        open_data(source)


def test_what_chooses_an_input_sees_the_first_intact_file_of_a_stream(tmp_path):
    fill(tmp_path, count=2)
    files = [(path.read_bytes(), path.parent.name) for path in sorted(tmp_path.rglob("*.png"))]
    looks = []

    def chosen(look):
        looks.append(look)
        return look.square(8)

    data = open_data([(b"broken", "cats"), *files], chosen, holdout=Holdout(0), checks=Checks(allow_broken=0.5))
    assert (data.input, len(data.train), len(data.skipped)) == (Input(8, 8, "L"), 4, 1)
    assert [look.sizes for look in looks] == [((4, 6),)]
