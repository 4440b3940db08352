"""The docs' sessions at a terminal (```console) run, command by command, and print what the page shows; so does `make`.

What is measured may differ, counts may not. A line of `...` stands for any lines, and trainings are shorter than what
the page shows.
VISIONBUS_SHOW_SESSIONS=1 prints what they print now.
"""

import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
SESSION = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [page for page in sorted(ROOT.glob("docs/**/*.md")) if SESSION.search(page.read_text(encoding="utf-8"))]
SIDES = {"circles": 0, "squares": 4, "triangles": 3}  # of the shapes in the pictures, by class
KAFKA = "kafka://127.0.0.1:9092"  # in the pages: another one here
SHORTER = re.compile(r"^visionbus train .*")
STORED = re.compile(r"stored \d+")  # `visionbus results` says it each second, too: the last one counts
MEASURED = re.compile(
    r"\d+ \+ [\d.]+(?= epochs)|\d+\.[\d.]+|\d+(?= (?:steps|epochs|images/s|s)\b)"
    r"|(?<=images/s )\d+|(?<=epoch )\d+ of \d+|(?<=', )\d+"  # the last: rows by label
)
SECONDS = 540  # for all commands of a page, on a machine that does much else
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
    """Write what the pages' reader has: a folder with a folder per class, with some dirt in it, and more photos.

    Besides, in `split` some of them in splits, and in `labels.csv` all of them as a table, with dirt in both; small
    ones in `shapes.npz`, and grey in `idx`.
    """
    random = np.random.default_rng(0)
    for name, sides in SIDES.items():
        for folder, count in (("photos", 40), ("more", 5)):
            place = tmp_path / folder / name
            place.mkdir(parents=True)
            for number in range(count):
                picture(random, sides).save(place / f"{number:03}.jpg")
    (tmp_path / "photos" / "circles" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (tmp_path / "photos" / "Thumbs.db").write_bytes(b"not an image")
    split_some(tmp_path / "photos", tmp_path / "split")
    rows = [f"{name}/{number:03}.jpg,{name}" for name in SIDES for number in range(40)]
    rows += ["squares/gone.jpg,squares", "circles/broken.jpg,circles", "circles/001.jpg,"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,species", *rows, ""]), encoding="utf-8")
    write_arrays(tmp_path)
    return tmp_path


def write_arrays(folder):
    """Write all photos, small, as an archive, and, in grey, as IDX files: three quarters of each class to be learnt."""
    names = [(name, number) for name in SIDES for number in range(40)]
    files = [folder / "photos" / name / f"{number:03}.jpg" for name, number in names]
    images = np.stack([np.asarray(Image.open(file).resize((32, 32))) for file in files])
    np.savez(folder / "shapes.npz", images=images, labels=[name for name, _ in names])
    learnt = np.array([number < 30 for _, number in names])
    grey, labels = images.mean(axis=3).astype(np.uint8), np.repeat(np.arange(len(SIDES), dtype=np.uint8), 40)
    (folder / "idx").mkdir()
    for part, chosen in (("train", learnt), ("t10k", ~learnt)):
        for what, array in (("images", grey[chosen]), ("labels", labels[chosen])):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / "idx" / f"{part}-{what}-idx{array.ndim}-ubyte").write_bytes(header + array.tobytes())


def split_some(photos, split):
    """Copy ten photos of each class, one of them into two splits, and write an empty file."""
    for name in SIDES:
        for number in range(10):
            place = split / ("train" if number < 7 else "val") / name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / name / f"{number:03}.jpg", place)
    shutil.copy(photos / "circles" / "000.jpg", split / "val" / "squares" / "copy.jpg")
    (split / "train" / "circles" / "empty.jpg").touch()


def masked(line):
    """Hide what differs from run to run: versions, figures, and what a network that learnt little says."""
    said = re.sub(r"(?<=predicted )\w+|(?<=\.jpg: )\w+(?= [\d.]+$)", "LABEL", line.rstrip())
    return MEASURED.sub("0", re.sub(r"\b[0-9a-f]{12}\b", "VERSION", said))


def matches(shown, printed):
    """Tell whether the lines are those that the page shows."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and masked(shown[0]) == masked(printed[0]) and matches(shown[1:], printed[1:])


def run(commands, folder):
    """Run commands in one shell; give the exit status and the printed lines of each that ended."""
    script = "set -m\n" + "".join(f"{{ {command}\n}} 2>&1; echo '{END}' $?\n" for command in commands)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "printed").open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "80", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            start_new_session=True,
        )
        try:
            shell.wait(SECONDS)
        except subprocess.TimeoutExpired:  # the test shows how far it came
            shell.kill()
            shell.wait()
        finally:
            for process in descendants(shell.pid):
                with suppress(ProcessLookupError):  # it ended since it was listed
                    os.kill(process, signal.SIGKILL)
    parts = re.split(rf"^{END} (\d+)\n", (folder / "printed").read_text(), flags=re.MULTILINE)
    return list(zip(map(int, parts[1::2]), (part.splitlines() for part in parts[::2]), strict=False))


def descendants(session):
    """Give the processes of a session, which job control has given groups of their own."""
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sessions_of_the_page_print_what_it_shows(page, photos, request):
    pytest.importorskip("torch")
    found = steps(page)
    kafka = request.getfixturevalue("kafka").url if any(KAFKA in command for command, _ in found) else KAFKA
    commands = [command.replace(KAFKA, kafka) for command, _ in found]
    outcomes = run([SHORTER.sub(r"\g<0> --epochs 8 --precision fp32", command) for command in commands], photos)
    if os.environ.get("VISIONBUS_SHOW_SESSIONS"):
        for (command, _), (_, printed) in zip(found, outcomes, strict=False):
            sys.__stdout__.write("\n".join([f"$ {command}", *printed, ""]))
    for (command, shown), (status, printed) in zip(found, outcomes, strict=False):
        there = [line.replace(kafka, KAFKA) for line in printed]
        pairs = pairwise([*there, ""])
        there = [line for line, after in pairs if not (STORED.fullmatch(line) and STORED.fullmatch(after))]
        assert status == 0, (command, there)
        assert matches(shown, there), (command, shown, there)
    assert len(outcomes) == len(found), f"not ended in {SECONDS} s: {found[len(outcomes)][0]}"


def clone(folder):
    """Copy what a clone of this repository would have."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no clone, so what a clone would have is NOT tried")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # or it was removed since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_lines_without_output_make_a_model_in_a_bare_clone_serve_it_and_install_what_the_rest_wants(photos):
    """All is installed as for a newcomer, but for torch: that which is here is used, as the page says."""
    pytest.importorskip("torch")
    clone(folder := photos / "clone")
    page = (ROOT / "docs" / "train-your-own.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (make, serve), install = (block.splitlines() for kind, block in fences if not kind)
    script = "\n".join(["set -e", f"{make} ARGS='--epochs 1 --precision fp32'", serve, *install])
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))
    }
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script.replace("~", str(photos)) + "\nvisionbus --version; python -c 'import confluent_kafka'"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(re.fullmatch(r"the torch \S+ in \S+ is used", line) for line in lines)
    assert "next: make serve MODEL=shapes.onnx IMAGES=/folder/of/more/images" in lines
    assert any(line.startswith("sent 15 stored 15 lost 0 duplicates 0 wrong 0") for line in lines)
    assert (folder / "shapes.html").exists()


def test_lines_match_whatever_is_measured_and_where_they_are_left_out():
    assert matches(["a 1.0", "...", "z"], ["a 2.5", "b", "c", "z"])
    assert matches(
        ["epoch 1 of 75, loss 1.0136, 1918 images/s, 0 s left", "60 + 15 epochs", "525 steps"],
        ["epoch 1 of 1, loss 0.9, 3 images/s, 12 s left", "1 + 0.25 epochs", "7 steps"],
    )
    assert not matches(["train 108 images of 32 x 32"], ["train 107 images of 32 x 32"])
    assert not matches(["train 108 images of 32 x 32"], ["train 108 images of 32 x 64"])
    assert matches(["version 0123456789ab"], ["version ba9876543210"])
    assert not matches(["a 1", "z"], ["a 1", "b", "z"])
    assert not matches(["a 1"], ["a 1", "b"])
    assert not matches(["a 1", "..."], ["b 1"])
