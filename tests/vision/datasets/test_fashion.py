"""Where Fashion-MNIST is found, and what is done about damage."""

import functools
import gzip
import http.server
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from visionbus.vision import DatasetError
from visionbus.vision.datasets import fashion, fashion_mnist, fetch


@pytest.fixture
def offline(monkeypatch):
    """Let neither the publisher nor Debian be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # and nobody listens there any more
    monkeypatch.setattr(fetch, "PUBLISHER", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(shutil, "which", lambda _name: None)


@pytest.fixture
def publisher(tmp_path, put, monkeypatch):
    """Serve the four files by HTTP, out of the folder that is given."""
    folder = put(tmp_path / "served")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(fetch, "PUBLISHER", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(shutil, "which", lambda _name: None)
        yield folder
        server.shutdown()
        thread.join()


def test_named_folder_is_read_packed_or_not(tmp_path, small, put, offline):
    folder = put(tmp_path / "mine")
    name = "train-images-idx3-ubyte"
    (folder / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
    (folder / f"{name}.gz").unlink()
    found = fashion_mnist("train", folder=folder)
    assert found.images.shape == (30, 28, 28, 1)
    assert found.labels.dtype == np.int64
    assert found.classes[0] == "T-shirt/top"
    assert len(fashion_mnist("test", folder=folder)) == 20


def test_named_folder_without_the_files_is_an_error_not_a_search(tmp_path, small, put, offline):
    put(tmp_path / "usr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty has no train-images-idx3-ubyte"):
        fashion_mnist(folder=tmp_path / "empty")


@pytest.mark.parametrize("inner", ["", "fashion-mnist"])
def test_environment_names_a_folder(tmp_path, small, put, offline, monkeypatch, inner):
    put(tmp_path / "data" / inner)
    monkeypatch.setenv("VISIONBUS_DATA", str(tmp_path / "data"))
    assert len(fashion_mnist("test")) == 20


@pytest.mark.parametrize("place", ["usr", "cache/visionbus/fashion-mnist"])
def test_debian_s_folder_and_the_cache_are_looked_into(tmp_path, small, put, offline, place):
    put(tmp_path / place)
    assert len(fashion_mnist("test")) == 20


def test_damaged_file_outside_the_cache_is_named(tmp_path, small, put, offline):
    damaged = put(tmp_path / "usr") / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DatasetError, match=r"t10k-labels-idx1-ubyte.gz is not of Fashion-MNIST .*replace or remove it"):
        fashion_mnist("test")


def test_files_are_fetched_once_and_kept(tmp_path, small, publisher):
    assert len(fashion_mnist("train")) == 30
    for file in publisher.iterdir():
        file.unlink()
    assert len(fashion_mnist("train")) == len(fashion_mnist("test")) + 10 == 30
    kept = sorted(path.name for path in (tmp_path / "cache/visionbus/fashion-mnist").iterdir())
    assert kept == sorted(f"{name}.gz" for name in small)


@pytest.mark.parametrize(
    "damage", [b"", b"\x1f\x8b\x08", b"junk", gzip.compress(b"another")], ids=["empty", "cut", "junk", "another"]
)
def test_damaged_file_in_the_cache_is_fetched_again(tmp_path, small, put, publisher, damage, caplog):
    file = put(tmp_path / "cache/visionbus/fashion-mnist") / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert len(fashion_mnist("test")) == 20
    assert "t10k-images" in caplog.text


@pytest.mark.parametrize("damage", ["other", "short", "missing"])
def test_damaged_download_is_refused_and_not_kept(tmp_path, small, publisher, damage):
    served = publisher / "t10k-images-idx3-ubyte.gz"
    whole = served.read_bytes()
    served.unlink()
    if damage != "missing":
        served.write_bytes(gzip.compress(b"other") if damage == "other" else whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="could not be fetched"):
        fashion_mnist("test")
    cache = tmp_path / "cache/visionbus/fashion-mnist"
    assert not [path for path in cache.iterdir() if path.name.startswith(".") or "t10k-images" in path.name]


def test_no_way_to_the_files_names_every_way_and_the_cure(small, offline):
    with pytest.raises(DatasetError, match=r"refused.*no apt-get.*install the Debian package.*VISIONBUS_DATA"):
        fashion_mnist("test")


def test_two_processes_fetch_at_once(tmp_path, small, publisher):
    code = (
        "import json, os, sys; from visionbus.vision.datasets import fashion, fashion_mnist, fetch;"
        "fashion.SHA256 = json.loads(sys.argv[1]); fetch.PUBLISHER = sys.argv[2];"
        "fashion.DEBIAN = fashion.Path('/nowhere'); print(len(fashion_mnist('train')))"
    )
    arguments = [sys.executable, "-c", code, json.dumps(small), fetch.PUBLISHER]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["30", "30"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_debian_s_package_brings_the_real_files(tmp_path, monkeypatch):
    if shutil.which("apt-get") is None:
        pytest.skip("there is no apt-get here: the Debian way of fetching Fashion-MNIST is NOT tested")
    try:
        fetch._unpack_from_debian(fashion.SHA256, tmp_path)
    except DatasetError as error:
        pytest.skip(f"apt-get cannot fetch here: the Debian way of fetching Fashion-MNIST is NOT tested ({error})")
    assert fashion_mnist("train", folder=tmp_path).images.shape == (60_000, 28, 28, 1)
    assert np.bincount(fashion_mnist("test", folder=tmp_path).labels).tolist() == [1000] * 10
