"""What may be trained on."""

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import Dataset, DatasetError
from visionbus.vision.datasets import Checks, open_data


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def arrays(*labels):
    return Dataset(np.zeros((len(labels), 2, 2, 1), np.uint8), np.array(labels, np.int64), ("cats", "dogs"))


@pytest.mark.parametrize("share", [float("nan"), -0.1, 2])
def test_share_of_broken_files_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="allow_broken must be a share, 0 to 1"):
        Checks(share)


def test_folder_of_a_single_class_is_refused_by_its_name(tmp_path):
    put(tmp_path / "photos" / "cats" / "1.png")
    with pytest.raises(DatasetError, match="has images of one class only, 'photos': give images of at least two"):
        open_data(tmp_path)


def test_folder_whose_second_class_has_broken_files_only_is_refused(tmp_path):
    for number in range(20):
        put(tmp_path / "cats" / f"{number}.png")
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="one class only, 'cats'"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("labels", "found"), [((1, 1), "images of one class only, 'dogs'"), ((), "no training images")]
)
def test_arrays_of_fewer_than_two_classes_are_refused(labels, found):
    with pytest.raises(DatasetError, match=f"arrays has {found}"):
        open_data(arrays(*labels))
