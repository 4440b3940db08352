"""Prints what an image costs with a model file, on one core: microseconds by batch size, the median of five."""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from vision import microseconds  # the benchmark of that name, next to this folder's parent

from visionbus.vision.onnx import OnnxModel

BATCHES = (1, 64)
RUNS = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    model = OnnxModel(parser.parse_args().model)
    model.warm_up()
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *model.input.shape), dtype=np.uint8)
    times = {
        str(count): statistics.median(microseconds(lambda: model.logits(images[:count]), count) for _ in range(RUNS))  # noqa: B023 (called at once)
        for count in BATCHES
    }
    print(json.dumps(times))


if __name__ == "__main__":
    main()
