"""Makes a data set of photographs, the same everywhere: 10 classes, 2,400 images to train and 600 to test, 128 pixels.

The classes are places: ten photographs of grass, leaves, trees, rocks and hills from two Debian packages,
mate-backgrounds and lomiri-wallpapers-16.04. Each is cut into six upright strips of equal width: the test images are
windows of the second and the fifth, the others of the rest, so that no pixel is in both. With `--split tiles` each is
cut into square tiles instead, and the test images are windows of a fifth of these, drawn at random. No pixel is in both
parts either, but a test image has neighbours that were learnt, as where photographs of the same things are split at
random; a strip is a place that was never seen. Windows with little in them, such as clear sky, are passed over. A
window is turned by a multiple of 90 degrees, mirrored or not, and its brightness, contrast and colour are changed at
random, down to grey: colour alone tells no place.

Usage: python benchmarks/photos.py FOLDER [--split tiles]

It writes FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from visionbus.cache import cache_folder

PACKAGES = ("mate-backgrounds", "lomiri-wallpapers-16.04")
CLASSES = {  # class -> the beginning of the file's name
    "branches": "Dragonfly",
    "brook": "life",
    "drops": "RainDrops",
    "dune": "Dune",
    "hills": "aitzgorri",
    "leaf": "Blinds",
    "meadow": "GreenMeadow",
    "mountains": "picosdeeuropa",
    "seeds": "seeding",
    "sunset": "sunset",
}
STRIPS = {"train": (0, 2, 3, 5), "test": (1, 4)}  # of six
EACH = {"train": 240, "test": 60}  # images of a class
EXTENT = 1800  # pixels of a photograph's longer side, at most
WINDOW = (40, 112)  # pixels a side of what is seen; at most the strip's width
CONTENT = 15  # the least standard deviation of a window's pixels
FULL = 20  # that of a tile's: some of its windows must have enough
SIDE = 128

Box = tuple[int, int, int, int]  # left, top, right, bottom


def unpacked() -> Path:
    """Return the folder with the packages' files, fetched when they are first needed."""
    folder = cache_folder("photos")
    for package in PACKAGES:
        if not (folder / package).exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                subprocess.run(["apt-get", "download", "-q", package], cwd=temporary, check=True)
                (archive,) = Path(temporary).glob("*.deb")
                subprocess.run(["dpkg", "-x", archive, "unpacked"], cwd=temporary, check=True)
                Path(temporary, "unpacked").rename(folder / package)
    return folder


def place(folder: Path, beginning: str) -> Image.Image:
    """Return the photograph whose name begins so."""
    (path,) = (path for package in PACKAGES for path in (folder / package).rglob(f"{beginning}*.jpg"))
    photo = Image.open(path).convert("RGB")
    photo.thumbnail((EXTENT, EXTENT))
    return photo


def strips(photo: Image.Image, part: str) -> list[Box]:
    """Return the upright strips of a part."""
    width = photo.width // 6
    return [(strip * width, 0, (strip + 1) * width, photo.height) for strip in STRIPS[part]]


def tiles(photo: Image.Image, part: str) -> list[Box]:
    """Return the square tiles of a part that have something in them: a fifth of them to test, or the rest."""
    side = WINDOW[1]
    corners = [(side * x, side * y) for y in range(photo.height // side) for x in range(photo.width // side)]
    boxes = [(left, top, left + side, top + side) for left, top in corners]
    full = [box for box in boxes if np.asarray(photo.crop(box).convert("L")).std() >= FULL]
    order = np.random.default_rng(len(full)).permutation(len(full))
    tested = len(full) // 5
    return [full[place] for place in (order[:tested] if part == "test" else order[tested:])]


def window(photo: Image.Image, box: Box, generator: np.random.Generator) -> Image.Image:
    """Return a part of a box that has something in it."""
    left, top, right, bottom = box
    while True:
        side = int(generator.integers(WINDOW[0], min(WINDOW[1], right - left) + 1))
        x = left + int(generator.integers(right - left - side + 1))
        y = top + int(generator.integers(bottom - top - side + 1))
        picture = photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (x, y, x + side, y + side))
        if np.asarray(picture.convert("L")).std() >= CONTENT:
            return picture


def changed(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Turn, mirror and light a window at random."""
    picture = picture.rotate(90 * int(generator.integers(4)))
    if generator.integers(2):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change, least, most in (
        (ImageEnhance.Brightness, 0.5, 1.5),
        (ImageEnhance.Contrast, 0.5, 1.5),
        (ImageEnhance.Color, 0.0, 1.0),
    ):
        picture = change(picture).enhance(generator.uniform(least, most))
    return picture


SPLITS = {"strips": strips, "tiles": tiles}


def make(folder: Path, split: str = "strips") -> None:
    """Write the data set."""
    sources = unpacked()
    for index, (name, beginning) in enumerate(CLASSES.items()):
        photo = place(sources, beginning)
        for part, each in EACH.items():
            boxes = SPLITS[split](photo, part)
            generator = np.random.default_rng([index, len(part)])
            (folder / part / name).mkdir(parents=True)
            for number in range(each):
                box = number % len(boxes)
                picture = changed(window(photo, boxes[box], generator), generator)
                picture.save(folder / part / name / f"{box}-{number:03}.jpg", quality=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="must not exist")
    parser.add_argument("--split", choices=SPLITS, default="strips", help="what the test images are windows of")
    given = parser.parse_args()
    make(given.folder, given.split)
