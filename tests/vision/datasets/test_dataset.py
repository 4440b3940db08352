import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.vision import Dataset, DatasetError
from visionbus.vision.datasets import split


def dataset(labels, classes=("a", "b", "c")):
    labels = np.array(labels, dtype=np.int64)
    return Dataset(np.zeros((len(labels), 2, 2, 1), np.uint8), labels, classes, tuple(map(str, range(len(labels)))))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": np.zeros((2, 2, 2, 1), np.float32)}, "must be uint8"),
        ({"images": np.zeros((2, 2, 2), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((2, 2, 2, 4), np.uint8)}, "must be uint8"),
        ({"labels": np.zeros(3, np.int64)}, "one for each of the 2 images"),
        ({"labels": np.zeros(2, np.int32)}, "must be int64"),
        ({"labels": np.array([0, 2])}, "indices into the classes"),
        ({"labels": np.array([-1, 0])}, "indices into the classes"),
        ({"classes": ("a", "a")}, "must be distinct"),
        ({"classes": ("a", "")}, "non-empty texts of valid Unicode, unlike ''"),
        ({"classes": ("a", "\udcff")}, r"non-empty texts of valid Unicode, unlike '\\udcff': rename it"),
        ({"classes": ("a", 2)}, "non-empty texts of valid Unicode, unlike 2"),
        ({"names": ("one",)}, "1 names for 2 images"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change, reason):
    whole = {"images": np.zeros((2, 2, 2, 1), np.uint8), "labels": np.array([0, 1]), "classes": ("a", "b")}
    with pytest.raises(DatasetError, match=reason):
        Dataset(**(whole | change))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.floats(0.05, 0.95), st.integers(0, 5))
def test_split_loses_and_doubles_nothing_and_keeps_each_class_s_share(labels, fraction, seed):
    whole = dataset(labels)
    rest, part = split(whole, fraction, seed=seed)
    assert sorted(rest.names + part.names, key=int) == list(whole.names)
    for label in range(3):
        members = labels.count(label)
        taken = int((part.labels == label).sum())
        assert taken == (0 if members < 2 else min(max(round(members * fraction), 1), members - 1))


def test_split_is_the_same_for_the_same_seed_and_another_for_another():
    whole = dataset([0, 1, 2] * 50)
    assert split(whole, 0.2, seed=1)[1].names == split(whole, 0.2, seed=1)[1].names
    assert split(whole, 0.2, seed=1)[1].names != split(whole, 0.2, seed=2)[1].names


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        split(dataset([0, 1]), fraction)
