"""`make train` and `make serve`: what they run; nothing is installed, trained or served here."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
PATHS = [  # as typed, as given to visionbus
    ("photos", "photos"),
    ("~/photos", "/home/me/photos"),
    ("/home/me/my photos", "/home/me/my photos"),
    ("~/my photos", "/home/me/my photos"),
]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


@pytest.fixture
def make(tmp_path):
    """Run make where Python only notes its words; give these, with the status and what make prints."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n{ printf "<%s>" "$@"; echo; } >> calls\n')
    python.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/me"}  # nothing of a make that runs the tests

    def run(*words):
        command = ["make", "PYTHON=.venv/bin/python", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return SimpleNamespace(status=done.returncode, out=done.stdout, calls=calls.read_text().splitlines())

    return run


@pytest.mark.parametrize(("typed", "given"), PATHS)
def test_train_installs_trains_and_says_what_comes_next(make, typed, given):
    done = make("train", f"DATA={typed}", "OUT=o.onnx")
    assert done.calls == ["<scripts/install.py><train>", f"<-m><visionbus><train><{given}><-o><o.onnx>"]
    assert done.out == "next: make serve MODEL=o.onnx IMAGES=/folder/of/more/images\n"


@pytest.mark.parametrize(("typed", "given"), PATHS)
def test_serve_runs_the_demo_with_the_model(make, typed, given):
    done = make("serve", "MODEL=m.onnx", f"IMAGES={typed}")
    assert done.calls == ["<scripts/install.py><demo>", f"<-m><visionbus><demo><--model><m.onnx><{given}>"]
    assert done.status == 0


def test_more_options_are_passed_on(make):
    words = "<--epochs><2><--name><two words>"
    assert make("train", "DATA=x", "ARGS=--epochs 2 --name 'two words'").calls[-1].endswith(f"<model.onnx>{words}")
    assert make("serve", "IMAGES=x", "ARGS=--keep").calls[-1].endswith("<--model><model.onnx><x><--keep>")


@pytest.mark.parametrize(("target", "cure"), [("train", "make train DATA="), ("serve", "IMAGES=")])
def test_images_that_are_not_named_are_asked_for_before_anything_runs(make, target, cure):
    done = make(target)
    assert (done.status, done.calls) == (2, [])
    assert cure in done.out
