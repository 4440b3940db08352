import itertools
import signal
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from visionbus.messaging import connect_blocking

URL = "memory://"
prefixes = (f"send-{number}" for number in itertools.count())


@pytest.fixture
def topic():
    return next(prefixes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two images and a text, in the present folder."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b c.png"):
        Image.new("L", (2, 2)).save(photos / name)
    (photos / "notes.txt").write_text("no image")
    return tmp_path


def requests(topic):
    with connect_blocking(URL) as bus, bus.subscribe(f"{topic}.requests", "workers") as receiver:
        return [one.message for one in receiver.receive(100, timeout=0)]


def test_images_of_a_folder_are_sent_and_their_ids_printed(run, folder, topic):
    shown = run("send", "photos", "--run", "monday", "--topic", topic, "--bus", URL)
    assert shown.status == 0
    assert shown.lines == ["monday/photos/a.png", "monday/photos/b%20c.png"]
    assert shown.err.splitlines() == [
        "run monday",
        "skipped: photos/notes.txt: not an image by its name",
        "sent 2, left out 0, skipped 1",
    ]
    assert [one.attributes["ce-id"] for one in requests(topic)] == shown.lines


def test_each_path_is_sent_once(run, folder, topic):
    shown = run("send", "photos/b c.png", "photos", "--run", "r", "--topic", topic, "--bus", URL)
    assert shown.lines == ["r/photos/b%20c.png", "r/photos/a.png"]


def test_requests_name_the_model_that_is_asked_for_and_else_none(run, folder, topic):
    assert run("send", "photos", "--model", "shoes", "--topic", topic, "--bus", URL).status == 0
    assert run("send", "photos", "--topic", topic, "--bus", URL).status == 0
    assert [one.attributes.get("model") for one in requests(topic)] == ["shoes", "shoes", None, None]


def test_json_is_all_that_is_on_stdout(run, folder, topic):
    shown = run("send", "photos", "--run", "monday", "--topic", topic, "--bus", URL, "--json")
    assert shown.document == {
        "run": "monday",
        "sent": 2,
        "left_out": [],
        "skipped": ["photos/notes.txt: not an image by its name"],
    }


def test_file_over_the_limit_is_named_and_the_status_is_one(run, folder, topic):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    Image.fromarray(noise).save(folder / "photos" / "large.png")
    url = f"{URL}?max_message_bytes=20000"
    shown = run("send", "photos", "--topic", topic, "--bus", url)
    assert shown.status == 1
    assert "left out: photos/large.png: " in shown.err
    assert "sent 2, left out 1" in shown.err


def test_file_over_the_limit_is_shrunk_where_that_is_asked_for(run, folder, topic):
    noise = np.random.default_rng(0).integers(0, 256, (3000, 100), np.uint8)
    Image.fromarray(noise).save(folder / "large.png")
    assert (
        run("send", "large.png", "--topic", topic, "--bus", f"{URL}?max_message_bytes=200000", "--shrink").status == 0
    )
    assert requests(topic)[0].attributes["content-type"] == "image/jpeg"


@pytest.mark.parametrize(("encode", "kind"), [("raw", "application/vnd.visionbus.u8"), ("png", "image/png")])
def test_idx_file_is_sent_as_pixels_or_png(run, folder, topic, encode, kind):
    (folder / "images.idx").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 2) + bytes(8))
    shown = run("send", "images.idx", "--run", "r", "--encode", encode, "--topic", topic, "--bus", URL)
    assert shown.lines == ["r/images.idx/0", "r/images.idx/1"]
    assert {one.attributes["content-type"] for one in requests(topic)} == {kind}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["missing.png"], 1, "missing.png: no such file or directory"),
        (["photos", "--run", "a/b"], 1, "run 'a/b' is not a valid name"),
        ([], 2, "PATH"),
    ],
)
def test_mistakes_are_told_in_one_line(run, folder, topic, words, status, said):
    shown = run("send", *words, "--topic", topic, "--bus", URL)
    assert shown.status == status
    assert said in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.slow
def test_interrupted_send_says_how_to_go_on(visionbus, folder):
    fifo_of_images = folder / "many.idx"
    fifo_of_images.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 500_000, 4, 4) + bytes(8_000_000))
    command = [*visionbus, "send", fifo_of_images, "--run", "r", "--bus", f"sqlite:///{folder}/bus.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("r/")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted: go on with --run r"


def test_folder_without_images_is_a_failure_that_says_so(run, tmp_path):
    ended = run("send", "--bus", URL, tmp_path)
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == "nothing was sent: no images were found"
