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
from visionbus.training.network import Network
from visionbus.vision import ModelError
from visionbus.vision.files import replacing
from visionbus.vision.metadata import Metadata
from visionbus.vision.onnx import IMAGES, LOGITS, OnnxModel

TOLERANCE = 1e-3  # of logits: float32 sums in another order
_OPSET = 20


def export(classifier: Classifier, path: Path, metadata: Metadata, *, images: npt.NDArray[np.uint8]) -> OnnxModel:
    """Write `path` in one step: it is then the whole, checked file, or what it was before.

    Args:
        classifier: the network with its temperature.
        path: the .onnx file.
        metadata: what the file says about itself.
        images: uint8 [image, height, width, channel]; on these the file must answer as the network does.

    Returns:
        The file, loaded.

    Raises:
        ModelError: when the file would not give the network's labels, or its logits to 0.001.
        OSError: when it cannot be written.
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
        raise ModelError("torch exported nothing: is the network one that can be traced?")
    model = program.model_proto
    _forget_the_source(model)
    for key, text in metadata.to_properties().items():
        model.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep in what the exporter says about itself and about packages that nobody needs here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_the_source(model: onnx.ModelProto) -> None:
    """Take out the exporter's notes: they quote the source and name paths of the machine that trained."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    del model.graph.value_info[:]


def _compare(classifier: Classifier, exported: OnnxModel, images: npt.NDArray[np.uint8]) -> None:
    """Ask both the same."""
    expected, got = classifier.logits(images), exported.logits(images)
    apart = float(np.abs(expected - got).max())
    if not apart <= TOLERANCE or (expected.argmax(axis=1) != got.argmax(axis=1)).any():
        raise ModelError(f"the exported logits are up to {apart:g} apart from the network's, more than {TOLERANCE:g}")
