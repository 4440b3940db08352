"""Writes a network as one self-describing ONNX file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch

from visionbus.training.classifier import Calibrated, Classifier
from visionbus.training.networks import Network
from visionbus.vision import ModelError
from visionbus.vision.files import replacing
from visionbus.vision.metadata import Metadata
from visionbus.vision.onnx import IMAGES, LOGITS, OnnxModel

TOLERANCE = 1e-3  # of logits: float32 sums are computed in another order
_OPSET = 20


def export(classifier: Classifier, path: Path, metadata: Metadata, *, images: npt.NDArray[np.uint8]) -> OnnxModel:
    """Write the model file `path` atomically: afterwards it is the complete, checked file, or unchanged.

    Args:
        classifier: the network with its temperature.
        path: the .onnx file.
        metadata: the metadata of the file.
        images: uint8 [image, height, width, channel]; on these the file must compute what the network does.

    Returns:
        The model, loaded from the file.

    Raises:
        ModelError: if torch cannot export the network, or the file's labels differ from the network's, or its logits by
            more than 0.001.
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(_to_onnx(classifier, metadata))
        _compare(classifier, OnnxModel(temporary), images)
    return OnnxModel(path)


def _to_onnx(classifier: Classifier, metadata: Metadata) -> bytes:
    """Trace the network into a graph, with normalisation and temperature inside."""
    network = classifier.network.fused() if isinstance(classifier.network, Network) else classifier.network
    module = Calibrated(network, classifier.temperature).eval()
    example = torch.zeros((2, *classifier.input.shape), dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[IMAGES],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch exported nothing: give a network that torch.export can trace")
    model = program.model_proto
    _strip_notes(model)
    for key, text in metadata.to_properties().items():
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's log and warnings, such as those about optional packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they quote source code and paths of the machine that trained."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    del model.graph.value_info[:]


def _compare(classifier: Classifier, exported: OnnxModel, images: npt.NDArray[np.uint8]) -> None:
    """Check that the file computes what the network does."""
    expected, got = classifier.logits(images), exported.logits(images)
    apart = float(np.abs(expected - got).max())
    if not apart <= TOLERANCE or (expected.argmax(axis=1) != got.argmax(axis=1)).any():
        raise ModelError(
            f"the exported logits are up to {apart:g} apart from the network's (allowed: {TOLERANCE:g}), or the "
            "labels differ: give a network that computes the same for any batch"
        )
