"""The page on training says what is so: its blocks run, and every public name stands in it."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

import visionbus.training

pytestmark = pytest.mark.slow  # torch takes seconds to import

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/training.md", "exec"), names)
    assert (tmp_path / "brightness.onnx").exists()


def test_public_names_are_in_the_page():
    assert [name for name in visionbus.training.__all__ if not re.search(rf"\b{name}\b", PAGE)] == []
