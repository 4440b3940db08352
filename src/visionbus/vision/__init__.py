"""Images, data sets and models, without torch.

Only `visionbus.vision.onnx` imports ONNX Runtime: what needs only pixels starts without it.
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
