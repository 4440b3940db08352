import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    building = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*building, "--wheel-dir", folder, ROOT], check=True)
    (built,) = folder.glob("visionbus-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The command of an environment that holds the wheel, what it depends on, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    installing = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
    ]
    subprocess.run([*installing, wheel], check=True)
    return folder / "bin" / "visionbus"


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_wheel_holds_all_that_is_needed_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name.removeprefix("visionbus/") for name in names if name.startswith("visionbus/")}
    sources = {
        str(path.relative_to(ROOT / "src" / "visionbus"))
        for path in (ROOT / "src" / "visionbus").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == sources
    assert {"py.typed", "vision/models/fashion-mnist.onnx", "vision/models/fashion-mnist.md"} <= packed
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"visionbus"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 3_000_000


def test_metadata_names_licence_python_and_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"train", "all"} <= set(metadata.get_all("Provides-Extra"))
    assert "make demo" in metadata.get_payload()


def test_source_distribution_holds_what_its_makefile_needs(tmp_path):
    code = "import sys; from hatchling.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
    (built,) = tmp_path.glob("visionbus-*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "README.md", "CONTRIBUTING.md", "benchmarks/photos.py"} <= names
    assert {"scripts/install.py", "tests/scripts/test_install.py", "docs/messaging.md"} <= names


def test_installed_command_shows_help_and_version(installed):
    assert "Commands:" in run(installed, "--help").stdout
    assert run(installed, "--version").stdout.startswith("visionbus ")


def test_installed_bus_carries_a_message(installed, tmp_path):
    for arguments, out in (
        (["declare", "images", "workers"], "topic images"),
        (["send", "images", "hello"], ""),
        (["receive", "images", "workers", "--count", "1"], "hello"),
    ):
        finished = run(installed, "bus", *arguments, cwd=tmp_path)
        assert (finished.returncode, finished.stderr) == (0, "")
        assert finished.stdout.startswith(out)


def test_installed_package_has_its_model(installed, tmp_path):
    code = (
        "from visionbus.vision.onnx import OnnxModel, default_model\n"
        "import numpy\n"
        "print(OnnxModel(default_model()).logits(numpy.zeros((2, 28, 28, 1), dtype=numpy.uint8)).shape)"
    )
    finished = run(installed.parent / "python", "-c", code, cwd=tmp_path)
    assert finished.stdout == "(2, 10)\n", finished.stderr


def test_training_without_its_extra_is_one_line_with_the_cure(installed, tmp_path):
    finished = run(installed, "train", "fashion-mnist", "-o", "model.onnx", cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "torch is not installed" in finished.stderr
    assert f"{installed.parent}/python -m pip install " in finished.stderr
    assert finished.stderr.endswith("[train]'\n")
