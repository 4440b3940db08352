"""Images, data sets and models, without torch.

ONNX Runtime is imported by `visionbus.vision.onnx` alone: what needs only pixels does not pay for it.
"""

from visionbus.vision.datasets import Dataset
from visionbus.vision.errors import DatasetError, ImageError, ModelError, VisionError
from visionbus.vision.evaluation import Evaluation, evaluate
from visionbus.vision.images import Input, Limits, load
from visionbus.vision.model import Model, Prediction, predict, softmax

__all__ = [
    "Dataset",
    "DatasetError",
    "Evaluation",
    "ImageError",
    "Input",
    "Limits",
    "Model",
    "ModelError",
    "Prediction",
    "VisionError",
    "evaluate",
    "load",
    "predict",
    "softmax",
]
