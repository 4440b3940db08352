"""Folders with one subfolder per class, and what else is found in such folders."""

import os

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import DatasetError, Input, load
from visionbus.vision.datasets import Holdout, load_evaluation_data, open_data, read_folder


def put(path, image=None, form="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.new("L", (6, 4), 50)).save(path, form)


@pytest.fixture
def folder(tmp_path):
    for name, brightness in (("cats", 10), ("Dogs", 20), ("old birds \N{BIRD}", 30)):
        for number in range(3):
            put(tmp_path / name / f"{number}.png", Image.new("L", (6, 4), brightness + number))
    return tmp_path


def test_each_folder_is_a_class_in_the_order_of_names(folder):
    found = read_folder(folder).dataset
    assert found.classes == ("Dogs", "cats", "old birds \N{BIRD}")
    assert found.images[:, 0, 0, 0].tolist() == [20, 21, 22, 10, 11, 12, 30, 31, 32]
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.names[0] == "Dogs/0.png"


def test_what_lies_deeper_belongs_to_the_class(folder):
    put(folder / "cats" / "more" / "of" / "them.png")
    assert "cats/more/of/them.png" in read_folder(folder).dataset.names


def test_broken_files_are_named_with_their_reason_and_skipped(folder):
    (folder / "cats" / "a.png").write_bytes(b"")
    whole = (folder / "cats" / "0.png").read_bytes()
    (folder / "cats" / "z.png").write_bytes(whole[:-20])
    found = read_folder(folder)
    assert [(skipped.name, skipped.reason.split(" ")[-1]) for skipped in found.skipped] == [
        ("cats/a.png", "file"),
        ("cats/z.png", "file"),
    ]
    assert len(found.dataset) == 9


def test_pipes_and_devices_are_named_and_skipped(folder):
    os.mkfifo(folder / "cats" / "pipe.png")
    (folder / "cats" / "zero.png").symlink_to("/dev/zero")
    found = read_folder(folder)
    cure = "not a regular file: copy its content into one"
    assert [(skipped.name, skipped.reason) for skipped in found.skipped] == [
        ("cats/pipe.png", cure),
        ("cats/zero.png", cure),
    ]
    assert len(found.dataset) == 9


def test_file_over_the_limit_is_skipped_unread(folder):
    with (folder / "cats" / "vast.png").open("wb") as file:
        file.truncate(2**40)  # a sparse file: it takes no room on the disk
    (skipped,) = read_folder(folder).skipped
    assert "has 1099511627776 bytes, more than 67108864: use a smaller one" in skipped.reason


def test_hidden_files_and_litter_are_passed_over(folder):
    put(folder / ".cache" / "x.png")
    (folder / "cats" / ".DS_Store").write_bytes(b"x")
    (folder / "cats" / "Thumbs.db").write_bytes(b"x")
    (folder / "readme.txt").write_text("not a class")
    (folder / "empty").mkdir()
    found = read_folder(folder)
    assert found.skipped == ()
    assert len(found.dataset.classes) == 3


def test_loop_of_links_ends(folder):
    (folder / "cats" / "loop").symlink_to(folder)
    assert len(read_folder(folder).dataset) == 9


def test_classes_may_be_given_and_some_may_have_no_images(folder):
    classes = ("old birds \N{BIRD}", "fish", "cats", "Dogs")
    found = read_folder(folder, classes=classes).dataset
    assert found.classes == classes
    assert np.bincount(found.labels, minlength=4).tolist() == [3, 0, 3, 3]


def test_folder_that_is_no_given_class_is_refused(folder):
    with pytest.raises(DatasetError, match="subfolders Dogs, old birds"):
        read_folder(folder, classes=("cats",))


def test_folder_without_classes_is_refused(tmp_path):
    put(tmp_path / "stray.png")
    with pytest.raises(DatasetError, match="make one subfolder per class"):
        read_folder(tmp_path)


def test_folder_without_an_intact_image_is_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="image"):
        read_folder(tmp_path)


def test_small_images_of_one_size_keep_it(folder):
    assert read_folder(folder).input == Input(4, 6, "L")


def test_mixed_images_are_cropped_to_a_square_in_colour(folder):
    put(folder / "cats" / "photo.jpg", Image.new("RGB", (400, 300)), "JPEG")
    found = read_folder(folder)
    assert (found.input.mode, found.input.fit) == ("RGB", "crop")
    assert found.dataset.images.shape[1:] == found.input.shape


def test_photographs_become_64_pixels(tmp_path):
    for number in range(3):
        put(tmp_path / "a" / f"{number}.jpg", Image.new("RGB", (200 + number, 100)), "JPEG")
    assert read_folder(tmp_path).input == Input(64, 64, "RGB", "crop")


def test_large_turned_photograph_gives_the_same_pixels_on_every_way_in(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    photo = Image.fromarray(np.kron(pixels, np.ones((100, 100, 1), dtype=np.uint8)))
    for name in ("a", "b"):
        put(tmp_path / name / "x.jpg")
        photo.save(tmp_path / name / "x.jpg", "JPEG", exif=exif, quality=90)
    data = open_data(tmp_path, holdout=Holdout(0))
    one = load((tmp_path / "a" / "x.jpg").read_bytes(), data.input)

    class Anything:
        classes = ("a", "b")
        input = data.input

    assert one.std() > 10
    assert (data.train.images == one).all()
    assert (load_evaluation_data(Anything(), tmp_path).images == one).all()
    upright = photo.transpose(Image.Transpose.ROTATE_270)  # 3000 x 2000, its middle is seen
    expected = upright.resize((64, 64), Image.Resampling.BILINEAR, box=(500, 0, 2500, 2000))
    assert abs(one.astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.parametrize("splits", [("train", "val"), ("test",)])
def test_folder_of_splits_is_not_read_in_part(tmp_path, splits):
    for split in splits:
        for name in ("cats", "dogs"):
            put(tmp_path / split / name / "0.png")
    with pytest.raises(DatasetError, match="is divided into splits: name the folder of one"):
        read_folder(tmp_path)
