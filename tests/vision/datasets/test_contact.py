"""Contact sheets: one picture per class."""

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import Dataset
from visionbus.vision.datasets.contact import write_sheets


def dataset(classes, each=3, shape=(6, 5, 3)):
    labels = np.repeat(np.arange(len(classes)), each)
    images = np.zeros((len(labels), *shape), np.uint8)
    images[...] = (labels % 200)[:, None, None, None]
    return Dataset(images, labels, tuple(classes))


@pytest.mark.parametrize("channels", [1, 3])
def test_sheet_shows_the_class_s_images_enlarged(tmp_path, channels):
    _, second = write_sheets(dataset(("a", "b"), shape=(6, 5, channels)), tmp_path / "sheets")
    assert second.name == "001-b.png"
    sheet = np.asarray(Image.open(second))
    assert (sheet == 1).all(axis=2).sum() == 3 * 60 * 50  # ten times as wide and high, for 64 pixels


def test_names_of_emoji_newlines_and_slashes_give_files_of_their_own(tmp_path):
    names = ("\N{DOG FACE}", "\N{CAT FACE}", "two\nlines", "../up", "x" * 300, "\N{LATIN SMALL LETTER E WITH ACUTE}")
    paths = list(write_sheets(dataset(names), tmp_path))
    assert [path.name for path in paths][:4] == ["000-_.png", "001-_.png", "002-two_lines.png", "003-___up.png"]
    assert sorted(tmp_path.iterdir()) == paths
    assert len(paths) == 6


def test_thousand_classes_have_a_sheet_each(tmp_path):
    paths = list(write_sheets(dataset([f"class {number}" for number in range(1000)], each=1), tmp_path))
    assert len({path.name for path in paths}) == 1000
    assert paths[-1].name == "999-class_999.png"


def test_class_without_images_has_no_sheet_and_a_large_one_shows_fifty(tmp_path):
    many = dataset(("a", "b"), each=120)
    one = many.subset(np.arange(120))
    (path,) = write_sheets(one, tmp_path)
    sheet = np.asarray(Image.open(path))
    assert (sheet[20:, :, 0] == 0).sum() == 50 * 60 * 50
