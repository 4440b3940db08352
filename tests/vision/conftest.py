"""Small model files, made by hand."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from visionbus.vision import Input
from visionbus.vision.metadata import Metadata

SPEC = Input(4, 6, "L")
CLASSES = ("dark", "bright")


def graph(classes=2, *, kind=TensorProto.UINT8, images="images", logits="logits", shape=("n", 4, 6, 1)):
    """Return a model: the first logit falls with the mean brightness, the others rise with it."""
    pixels = int(np.prod(shape[1:]))
    weights = np.full((pixels, classes), 1 / pixels, dtype=np.float32)
    weights[:, 0] *= -1
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Cast", [images], ["numbers"], to=TensorProto.FLOAT),
                helper.make_node("Flatten", ["numbers"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weights"], [logits]),
            ],
            "test",
            [helper.make_tensor_value_info(images, kind, list(shape))],
            [helper.make_tensor_value_info(logits, TensorProto.FLOAT, [shape[0], classes])],
            [numpy_helper.from_array(weights, "weights")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    )


@pytest.fixture
def write_model(tmp_path):
    """Write a model file; keywords replace metadata (None leaves it out), `model` the graph."""

    def write(*, model=None, **changes):
        model = model or graph()
        described = Metadata("tiny", CLASSES, SPEC, {"accuracy": 0.5}, {"seed": 1}).to_properties()
        for key, value in changes.items():
            described[f"visionbus.{key}"] = json.dumps(value)
            if value is None:
                del described[f"visionbus.{key}"]
        for key, value in described.items():
            model.metadata_props.add(key=key, value=value)
        path = tmp_path / "tiny.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def make_graph():
    return graph
