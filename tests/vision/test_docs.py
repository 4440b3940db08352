"""The page on vision says what is so: its blocks run, one after the other."""

import re
from pathlib import Path

import pytest

import visionbus.vision
from visionbus.vision import DatasetError, datasets, images
from visionbus.vision.datasets import fashion_mnist

PAGE = (Path(__file__).parents[2] / "docs" / "vision.md").read_text(encoding="utf-8")


def test_blocks_run():
    try:
        fashion_mnist("test")
    except DatasetError as error:
        pytest.skip(f"Fashion-MNIST cannot be had, docs/vision.md is NOT run: {error}")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/vision.md", "exec"), names)
    assert names["found"].accuracy > 0.8


@pytest.mark.parametrize("module", [visionbus.vision, datasets, images])
def test_public_names_are_in_the_page(module):
    assert [name for name in module.__all__ if not re.search(rf"\b{name}\b", PAGE)] == []
