import os
from pathlib import Path

import numpy as np
import pytest

from visionbus.service.images import Image, RefusedError, Requests, in_order

MAKER = Requests("run", 10_000)


def sent(item, index=0, maker=MAKER):
    message = maker.make(item, index)
    return message.attributes["ce-id"], message.data


def test_file_is_sent_as_it_is_under_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.png").write_bytes(b"data")
    assert sent("./a b.png") == ("run/a%20b.png", b"data")
    assert sent(tmp_path / "a b.png")[0] == f"run/{tmp_path}/a%20b.png"


def test_bytes_and_pixels_are_named_by_their_place():
    assert sent(b"data", 3) == ("run/3", b"data")
    message = MAKER.make(np.arange(6, dtype=np.uint8).reshape(2, 3), 4)
    assert (message.attributes["ce-id"], message.attributes["shape"]) == ("run/4", "2,3,1")
    assert message.data == bytes(range(6))


def test_names_ids_keys_and_models_are_the_callers():
    assert sent(("mine", b"data"), 3)[0] == "run/mine"
    message = MAKER.make(Image(b"data", id="whole", key="k", model="shoes"), 0)
    assert (message.attributes["ce-id"], message.key, message.attributes["model"]) == ("whole", "k", "shoes")


def test_turned_pixels_are_sent_in_their_order():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    assert MAKER.make(pixels, 0).data == bytes([0, 3, 1, 4, 2, 5])


@pytest.mark.parametrize("item", [3, None, np.zeros((2, 2)), np.zeros(3, np.uint8)])
def test_what_is_no_image_is_a_type_error(item):
    with pytest.raises(TypeError):
        MAKER.make(item, 0)


@pytest.mark.parametrize("items", ["a.png", b"data", np.zeros((2, 2, 2)), np.zeros((2, 2), np.uint8)])
def test_one_image_is_no_sequence(items):
    with pytest.raises(TypeError):
        in_order(items)


def test_missing_and_large_files_are_refused_by_name(tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(10_001))
    with pytest.raises(
        RefusedError, match=r"large\.png: the file has 10001 bytes, more than 10000: .*, or shrink it \(--shrink\)"
    ):
        MAKER.make(large, 0)
    with pytest.raises(RefusedError, match=r"missing\.png: No such file"):
        MAKER.make("missing.png", 0)
    with pytest.raises(RefusedError, match="over the bus's limit"):
        MAKER.make(np.zeros((101, 100), np.uint8), 0)


def test_images_that_name_no_model_get_that_of_the_run():
    maker = Requests("run", 10_000, model="shoes")
    assert maker.make(b"data", 0).attributes["model"] == "shoes"
    assert maker.make(Image(b"data", model="hats"), 0).attributes["model"] == "hats"


def test_shrunk_image_still_names_its_model(png):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    shrunk = Requests("run", 89_000, shrink=True, model="shoes").make(png(noise), 0)
    assert (shrunk.attributes["content-type"], shrunk.attributes["model"]) == ("image/jpeg", "shoes")


def test_what_shrinking_does_not_make_small_enough_is_refused_without_that_cure(png):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    with pytest.raises(RefusedError, match=r"over the bus's limit of 1000: use a smaller one$"):
        Requests("run", 1000, shrink=True).make(png(noise), 0)


@pytest.mark.parametrize("shrink", [False, True])
def test_what_is_not_a_regular_file_is_refused_unopened(tmp_path, shrink):
    maker = Requests("run", 10_000, shrink)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.png", tmp_path / "link.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(RefusedError, match=f"{path}: not a regular file"):
            maker.make(path, 0)


def test_large_image_is_shrunk_where_that_is_asked_for(tmp_path, png):
    noise = np.random.default_rng(0).integers(0, 256, (3000, 100), np.uint8)
    large = tmp_path / "large.png"
    large.write_bytes(png(noise))
    maker = Requests("run", 150_000, shrink=True)
    message = maker.make(large, 0)
    assert message.attributes["content-type"] == "image/jpeg"
    assert message.size <= 150_000
    with pytest.raises(RefusedError, match="more than 150000"):
        Requests("run", 150_000).make(large, 0)


def test_what_cannot_be_shrunk_is_refused(tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(10_001))
    with pytest.raises(RefusedError, match="cannot be shrunk"):
        Requests("run", 10_000, shrink=True).make(large, 0)
