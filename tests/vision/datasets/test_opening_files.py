"""Every kind of image file through `open_data`, and what happens to a folder while it is decoded."""

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from visionbus.vision import DatasetError, Input
from visionbus.vision.datasets import Checks, Decoding, Holdout, open_data

SPEC = Input(20, 40)
LEFT, RIGHT = (200, 40, 20), (30, 60, 180)


def halves(left=LEFT, right=RIGHT, mode="RGB"):
    """Draw a picture of two colours, 40 x 20."""
    picture = Image.new(mode, (40, 20), left)
    picture.paste(right, (20, 0, 40, 20))
    return picture


def sixteen_bits():
    return Image.fromarray(np.repeat(np.array([[60 * 257, 190 * 257]], np.uint16), 20, axis=1).repeat(20, axis=0))


def turned():
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise to be upright
    return halves().transpose(Image.Transpose.ROTATE_90), {"exif": exif, "quality": 95, "subsampling": 0}


KINDS = {
    "grey.png": (halves(60, 190, "L"), (60,) * 3, (190,) * 3),
    "grey and alpha.png": (halves((60, 255), (60, 0), "LA"), (60,) * 3, (255,) * 3),
    "one bit.tif": (halves(0, 1, "1"), (0,) * 3, (255,) * 3),
    "sixteen bits.png": (sixteen_bits(), (60,) * 3, (190,) * 3),
    "colour.bmp": (halves(), LEFT, RIGHT),
    "colour.webp": (halves(), LEFT, RIGHT),
    "alpha.png": (halves((*LEFT, 255), (*RIGHT, 0), "RGBA"), LEFT, (255,) * 3),
    "palette.gif": (halves().quantize(4), LEFT, RIGHT),
    "cmyk.jpg": (halves().convert("CMYK"), LEFT, RIGHT),
    "turned.jpg": (turned(), LEFT, RIGHT),
}


def put(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def fill(folder, count=10):
    """Write two classes of noise; no two images are the same."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        for number in range(count):
            noise = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            put(folder / name / f"{number:02}.png", Image.fromarray(noise))
    return folder


def images_by_name(data):
    return dict(zip(data.train.names, data.train.images, strict=True))


def test_every_kind_of_image_becomes_upright_colour_in_one_folder(tmp_path):
    for name, (image, _, _) in KINDS.items():
        picture, options = image if isinstance(image, tuple) else (image, {})
        put(tmp_path / "kinds" / name, picture, **options)
    put(tmp_path / "others" / "1.png", halves((0, 0, 0)))
    data = open_data(tmp_path, SPEC, holdout=Holdout(0))
    assert data.skipped == ()
    found = images_by_name(data)
    for name, (_, left, right) in KINDS.items():
        pixels = found[f"kinds/{name}"].astype(int)
        assert abs(pixels[5:15, 2:16] - left).max() <= 6, name
        assert abs(pixels[5:15, 24:38] - right).max() <= 6, name


@pytest.mark.parametrize("size", [(20, 60), (60, 20), (300, 240), (240, 300), (30, 30)])
def test_of_pictures_of_mixed_sizes_the_middle_is_seen(tmp_path, size):
    """A green square in the middle, as large as fits, and red beside it."""
    picture = Image.new("RGB", size, "red")
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    picture.paste((0, 255, 0), (left, top, left + side, top + side))
    put(tmp_path / "a" / "1.png", picture)
    for number in range(3):
        put(tmp_path / "b" / f"{number}.png", Image.new("RGB", (40 + number, 50), "blue"))
    data = open_data(tmp_path, holdout=Holdout(0))
    assert (data.input.height, data.input.fit) == (data.input.width, "crop")
    assert (data.train.images[0, 1:-1, 1:-1] == (0, 255, 0)).all()  # a filter sees a little beyond the edge


def huge_header(width, height):
    """Return a PNG that claims a size, and holds nothing."""
    chunks = [
        (b"IHDR", width.to_bytes(4) + height.to_bytes(4) + bytes((8, 2, 0, 0, 0))),
        (b"IDAT", b""),
        (b"IEND", b""),
    ]
    parts = [len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_decompression_bombs_in_a_folder_are_named_and_skipped(tmp_path):
    fill(tmp_path)
    (tmp_path / "cats" / "claim.png").write_bytes(huge_header(60_000, 60_000))
    put(tmp_path / "dogs" / "flat.png", Image.new("1", (9000, 9000)))
    assert (tmp_path / "dogs" / "flat.png").stat().st_size < 100_000
    data = open_data(tmp_path)
    assert [(one.name, one.reason.split(" pixels")[0]) for one in data.skipped] == [
        ("cats/claim.png", "the PNG file has 60000 x 60000"),
        ("dogs/flat.png", "the PNG file has 9000 x 9000"),
    ]
    assert len(data.trainval) == 20


def test_image_of_a_single_pixel_is_taken(tmp_path):
    put(fill(tmp_path) / "cats" / "dot.png", Image.new("RGB", (1, 1), LEFT))
    assert (images_by_name(open_data(tmp_path, SPEC, holdout=Holdout(0)))["cats/dot.png"] == LEFT).all()


OPEN = """
import os, sys
from pathlib import Path
from visionbus.vision import Input
from visionbus.vision.datasets import Decoding, Holdout, open_data
def progress(done, total):
    if done < total and sys.argv[3:]:
        print(done, flush=True)
        sys.stdin.readline()
try:
    decoding = Decoding(memory=int(sys.argv[2]), threads=1, progress=progress)
    data = open_data(sys.argv[1], Input(8, 8), holdout=Holdout(0), decoding=decoding)
    print(len(data.train), int(data.train.images.sum()), data.notes)
finally:
    print(sorted(path.name for path in Path(os.environ["VISIONBUS_PIXELS"]).rglob("*") if path.is_file()))
"""
# All images take 3,840 bytes, and with what is written beside them more than two pages.
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=8k tmpfs "$VISIONBUS_PIXELS" && exec "$@"'


@pytest.fixture
def small_disk(cache):
    """Run a command where the cache is on a disk of 8 KiB; skip where no disk can be mounted."""
    inside = ["unshare", "-rm", "sh", "-ec", ON_A_SMALL_DISK, "sh"]
    try:
        subprocess.run([*inside, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a tmpfs cannot be mounted here")
    return lambda *command: subprocess.run([*inside, *command], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_cache_that_fills_the_disk_is_left_out_and_said(tmp_path, small_disk):
    done = small_disk(sys.executable, "-c", OPEN, fill(tmp_path, 30), str(2**30))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("60 ")
    assert "could not be kept in" in done.stdout
    assert "No space left on device" in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.slow
@pytest.mark.parametrize(("count", "reason"), [(16, "No space left on device"), (60, "8192 are free")])
def test_full_disk_stops_what_must_be_mapped_and_leaves_nothing(tmp_path, small_disk, count, reason):
    done = small_disk(sys.executable, "-c", OPEN, fill(tmp_path, count), "1")
    assert f"DatasetError: the decoded images take {count * 2 * 192} bytes" in done.stderr
    assert f"({reason}): free some space, or name another folder in VISIONBUS_PIXELS" in done.stderr
    assert done.stdout == "[]\n"


@pytest.fixture
def opening():
    """Start to open a folder in another process, which waits for a line after each few images."""
    started = []

    def start(folder, memory):
        command = [sys.executable, "-c", OPEN, folder, str(memory), "wait"]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "8\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def result(process):
    """Let a process go on to its end; return what it has opened."""
    return process.communicate("\n" * 9)[0].splitlines()[-2]


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1, 2**30])
def test_run_killed_while_it_decodes_leaves_nothing_that_harms_or_stays(tmp_path, cache, opening, memory):
    fill(tmp_path)
    killed = opening(tmp_path, memory)
    killed.kill()
    killed.wait()
    left = [path for path in cache.rglob("*") if path.is_file()]
    assert len(left) == 1
    os.utime(left[0], (0, 0))
    data = open_data(tmp_path, Input(8, 8), holdout=Holdout(0), decoding=Decoding(memory=memory))
    expected = [np.asarray(Image.open(tmp_path / name)) for name in data.train.names]
    assert (data.train.images == expected).all()
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".pixels"}


@pytest.mark.slow
def test_run_that_still_decodes_is_not_taken_for_a_killed_one(tmp_path, cache, opening):
    fill(tmp_path / "b", 5)
    slow = opening(fill(tmp_path / "a"), 1)
    (temporary,) = (path for path in cache.rglob("*") if path.is_file())
    os.utime(temporary, (0, 0))
    open_data(tmp_path / "b", Input(8, 8))
    assert result(slow).startswith("20 ")


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1, 2**30])
def test_two_runs_that_decode_the_same_at_once_are_both_right(tmp_path, cache, opening, memory):
    fill(tmp_path)
    found = [result(run) for run in [opening(tmp_path, memory), opening(tmp_path, memory)]]
    data = open_data(tmp_path, Input(8, 8), holdout=Holdout(0))
    assert found == [f"20 {int(data.train.images.sum())} ()"] * 2
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} == {".pixels"}


def test_folder_of_broken_files_alone_is_refused_with_the_first(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="none of the files looked at"):
        open_data(tmp_path, checks=Checks(allow_broken=1))
