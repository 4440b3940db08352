import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from visionbus.service import sources
from visionbus.service.sources import find
from visionbus.vision import DatasetError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        path = sources.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*words, **options):
    skipped = []
    return list(find(words, skipped=skipped.append, **options)), skipped


def idx_file(name, pixels):
    header = bytes([0, 0, 8, pixels.ndim]) + struct.pack(f">{pixels.ndim}I", *pixels.shape)
    sources.Path(name).write_bytes(gzip.compress(header + pixels.tobytes()))


def test_folder_gives_its_images_sorted_and_reports_the_rest():
    touch("p/b.JPG", "p/a.png", "p/notes.txt", "p/.hidden.png", "p/.git/x.png", "p/sub/c.webp")
    assert found("p") == (["p/a.png", "p/b.JPG", "p/sub/c.webp"], ["p/notes.txt: not an image by its name"])


def test_file_named_itself_is_taken_whatever_its_name():
    touch("photo")
    assert found("./photo") == (["photo"], [])


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "photos.parquet", "photos.NPZ"])
def test_tables_and_archives_are_refused_before_anything_is_given(name):
    touch("a.png", name)
    with pytest.raises(DatasetError, match=f"{name} is a table or an archive, which only training takes"):
        found("a.png", name)


def test_folder_may_be_called_like_a_table():
    touch("photos.csv/a.png")
    assert found("photos.csv") == (["photos.csv/a.png"], [])


def test_what_comes_twice_is_given_once():
    touch("p/a.png", "p/b.png")
    assert found("p/b.png", "p", "./p/a.png") == (["p/b.png", "p/a.png"], [])


def test_missing_path_is_an_error_before_anything_is_given():
    touch("a.png")
    with pytest.raises(FileNotFoundError):
        find(["a.png", "missing.png"], skipped=print)


def test_idx_file_gives_pixels_named_by_their_place():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    idx_file("t10k-images-idx3-ubyte.gz", pixels)
    (images, _) = found("./t10k-images-idx3-ubyte.gz")
    assert [name for name, _ in images] == [f"t10k-images-idx3-ubyte.gz/{index}" for index in range(3)]
    assert np.array_equal([image for _, image in images], pixels)


def test_pixels_are_sent_as_png_files_where_that_is_asked_for(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    idx_file("images.idx", pixels)
    (images, _) = found("images.idx", encode="png")
    for (_, data), expected in zip(images, pixels, strict=True):
        (tmp_path / "one.png").write_bytes(data)
        with Image.open(tmp_path / "one.png") as image:
            assert np.array_equal(np.asarray(image), expected)


def test_labels_are_no_images():
    idx_file("labels-idx1-ubyte.gz", np.zeros(3, np.uint8))
    with pytest.raises(DatasetError, match="holds no images"):
        found("labels-idx1-ubyte.gz")


def test_folder_called_fashion_mnist_goes_first():
    touch("fashion-mnist/a.png")
    assert found("fashion-mnist") == (["fashion-mnist/a.png"], [])
