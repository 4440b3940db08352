"""The docs' sessions at a terminal (```console) run, command by command, and print what the page shows.

Numbers may differ, and a line of `...` stands for any lines. VISIONBUS_SHOW_SESSIONS=1 prints what they print now.
"""

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
SESSION = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(ROOT.glob("docs/**/*.md")) if SESSION.search(page.read_text(encoding="utf-8"))]
SIDES = {"circles": 0, "squares": 4, "triangles": 3}  # of the shapes in the pictures, by class
KAFKA = "kafka://127.0.0.1:9092"  # in the pages: another one here
END = "@@ended"


def steps(page):
    """Give each command of the page, with the lines that it is said to print."""
    found = []
    for session in SESSION.findall(page.read_text(encoding="utf-8")):
        for line in session.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def picture(random, sides):
    """Draw a shape somewhere on a dull background."""
    width, height = (int(side) for side in random.integers(96, 160, 2))
    noise = random.integers(90, 130, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    radius = random.uniform(20, 30)
    x, y = random.uniform(radius, width - radius), random.uniform(radius, height - radius)
    colour = tuple(random.integers(150, 255, 3).tolist())
    draw = ImageDraw.Draw(image)
    if sides:
        draw.regular_polygon((x, y, radius), sides, rotation=math.degrees(random.uniform(-0.3, 0.3)), fill=colour)
    else:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


@pytest.fixture
def photos(tmp_path):
    """Write what the pages' reader has: a folder with a folder per class, with some dirt in it, and more photos."""
    random = np.random.default_rng(0)
    for name, sides in SIDES.items():
        for folder, count in (("photos", 40), ("more", 5)):
            place = tmp_path / folder / name
            place.mkdir(parents=True)
            for number in range(count):
                picture(random, sides).save(place / f"{number:03}.jpg")
    (tmp_path / "photos" / "circles" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (tmp_path / "photos" / "Thumbs.db").write_bytes(b"not an image")
    return tmp_path


def masked(line):
    """Hide what differs from run to run: versions and numbers."""
    return re.sub(r"\d[\d.,:]*", "0", re.sub(r"\b[0-9a-f]{12}\b", "VERSION", line.rstrip()))


def matches(shown, printed):
    """Tell whether the lines are those that the page shows."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and masked(shown[0]) == masked(printed[0]) and matches(shown[1:], printed[1:])


def run(commands, folder):
    """Run commands in one shell; give the exit status and the printed lines of each."""
    script = "set -m\n" + "".join(f"{{ {command}\n}} 2>&1; echo '{END}' $?\n" for command in commands)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "80", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=240)
    finally:
        for process in descendants(shell.pid):
            os.kill(process, signal.SIGKILL)
    parts = re.split(rf"^{END} (\d+)\n", printed, flags=re.MULTILINE)
    return list(zip(map(int, parts[1::2]), (part.splitlines() for part in parts[::2]), strict=False))


def descendants(session):
    """Give the processes of a session, which job control has given groups of their own."""
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sessions_of_the_page_print_what_it_shows(page, photos, kafka):
    found = steps(page)
    outcomes = run([command.replace(KAFKA, kafka.url) for command, _ in found], photos)
    if os.environ.get("VISIONBUS_SHOW_SESSIONS"):
        for (command, _), (_, printed) in zip(found, outcomes, strict=False):
            sys.__stdout__.write("\n".join([f"$ {command}", *printed, ""]))
    for (command, shown), (status, printed) in zip(found, outcomes, strict=True):
        there = [line.replace(kafka.url, KAFKA) for line in printed]
        assert status == 0, (command, there)
        assert matches(shown, there), (command, shown, there)


def test_lines_match_whatever_their_numbers_and_where_they_are_left_out():
    assert matches(["a 1", "...", "z"], ["a 2.5", "b", "c", "z"])
    assert matches(["version 0123456789ab"], ["version ba9876543210"])
    assert not matches(["a 1", "z"], ["a 1", "b", "z"])
    assert not matches(["a 1"], ["a 1", "b"])
    assert not matches(["a 1", "..."], ["b 1"])
