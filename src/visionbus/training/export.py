"""Writes a network as one self-describing ONNX file."""

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from visionbus.training.classifier import Calibrated, Classifier
from visionbus.training.networks import Network
from visionbus.vision import Input, ModelError
from visionbus.vision.files import replacing
from visionbus.vision.metadata import Metadata
from visionbus.vision.onnx import IMAGES, LOGITS, OnnxModel

TOLERANCE = 1e-3  # of logits: float32 sums are computed in another order
_OPSET = 20


def export(
    network: nn.Module,
    path: Path,
    classes: Sequence[str],
    spec: Input,
    *,
    name: str | None = None,
    temperature: float = 1.0,
    figures: Mapping[str, object] | None = None,
    images: npt.NDArray[np.uint8] | None = None,
) -> OnnxModel:
    """Write any trained module as a model file; it is replaced atomically.

    Args:
        network: maps uint8 [n, height, width, channel] to logits, float [n, class]; see `Pixels` for networks that take
            something else. It is put into evaluation mode.
        path: the .onnx file.
        classes: their names, in the order of the logits.
        spec: the images that the network takes, and how others are fitted to it.
        name: the name by which requests ask for the model; by default the file's stem.
        temperature: the logits are divided by it; see `temperature_for`.
        figures: what else the file should say, such as the accuracy; JSON values.
        images: uint8 [image, height, width, channel]; on these the file must compute what the network does. By default
            32 images of noise.

    Returns:
        The model, loaded from the file.

    Raises:
        ModelError: if torch cannot export the network, or the file's logits differ from the network's by more than
            0.001, so that labels can differ where two classes are about as likely.
        OSError: if the file cannot be written.
    """
    classifier = Classifier(network, tuple(classes), spec, temperature=temperature)
    metadata = Metadata(name or path.stem, classifier.classes, spec, figures or {})
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (32, *spec.shape), dtype=np.uint8)
    return write(classifier, path, metadata, images=images)


def write(classifier: Classifier, path: Path, metadata: Metadata, *, images: npt.NDArray[np.uint8]) -> OnnxModel:
    """Write the model file `path` atomically: afterwards it is the complete, checked file, or unchanged.

    Args:
        classifier: the network with its temperature.
        path: the .onnx file.
        metadata: the metadata of the file.
        images: uint8 [image, height, width, channel]; on these the file must compute what the network does.

    Returns:
        The model, loaded from the file.

    Raises:
        ModelError: if torch cannot export the network, or the file's logits differ from the network's by more than
            0.001, so that labels can differ where two classes are about as likely.
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(_to_onnx(classifier, metadata))
        _compare(classifier, OnnxModel(temporary), images)
    return OnnxModel(path)


def rehearse(network: nn.Module, classes: Sequence[str], spec: Input) -> None:
    """Export a network to nowhere, so that one that cannot be is refused before it is trained.

    Raises:
        ModelError: if torch cannot export it, or only for a fixed number of images.
    """
    classifier = Classifier(network, tuple(classes), spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rehearsal.onnx")
        path.write_bytes(_to_onnx(classifier, Metadata("rehearsal", classifier.classes, spec)))
        try:
            OnnxModel(path).logits(np.zeros((3, *spec.shape), np.uint8))
        except (ModelError, RuntimeError) as error:
            raise ModelError(
                "the network cannot be exported for any number of images, as with x.reshape(len(x), -1): write "
                f"x.flatten(1), and take sizes from x.shape ({error})"
            ) from error


def _to_onnx(classifier: Classifier, metadata: Metadata) -> bytes:
    """Trace the network into a graph, with normalisation and temperature inside."""
    network = copy.deepcopy(classifier.network).cpu()
    module = Calibrated(network.fused() if isinstance(network, Network) else network, classifier.temperature).eval()
    example = torch.zeros((2, *classifier.input.shape), dtype=torch.uint8)
    try:
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
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(f"torch cannot export the network: give one that torch.export can trace ({error})") from error
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
    expected, got = _on_processor(classifier).logits(images), exported.logits(images)
    apart = float(np.abs(expected - got).max())
    if not apart <= TOLERANCE:
        raise ModelError(
            f"the exported logits are up to {apart:g} apart from the network's (allowed: {TOLERANCE:g}): give a "
            "network that computes the same for any batch"
        )


def _on_processor(classifier: Classifier) -> Classifier:
    """Return the classifier on the processor, where float32 is exact: a GPU's convolutions round more, by default."""
    if next(classifier.network.parameters()).device.type == "cpu":
        return classifier
    network = copy.deepcopy(classifier.network).cpu()
    return Classifier(network, classifier.classes, classifier.input, temperature=classifier.temperature)
