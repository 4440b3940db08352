"""Runs a model from one self-describing .onnx file."""

import hashlib
import os
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when ONNX Runtime is loaded
import onnxruntime

from visionbus.vision.errors import ModelError
from visionbus.vision.files import read_limited
from visionbus.vision.images import Input
from visionbus.vision.metadata import Metadata

IMAGES = "images"
LOGITS = "logits"

# Larger batches are run in parts of this many images: the working set stays in the processor's cache, and memory use
# is bounded.
MAX_PART = 32

_MAX_BYTES = 2**31 - 1  # of a file: what Protocol Buffers allow


def default_model() -> Path:
    """Return the path of the Fashion-MNIST model that the package ships."""
    with as_file(files("visionbus.vision") / "models" / "fashion-mnist.onnx") as path:
        return path


class OnnxModel:
    """A `Model` that ONNX Runtime runs on the CPU. Its methods may be called from any thread."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load and check the file.

        Args:
            path: the .onnx file.
            threads: how many threads run one batch; workers use one each, and there is one worker per core.

        Raises:
            ModelError: if the file is missing, damaged, or was not made by visionbus.
        """
        try:
            content = read_limited(Path(path), _MAX_BYTES)
        except OSError as error:
            raise ModelError(f"cannot read the model {path} ({error.strerror}): name an .onnx file") from error
        self._session = _session(content, path, threads)
        try:
            self._metadata = Metadata.from_properties(self._session.get_modelmeta().custom_metadata_map)
            _check(self._session, self._metadata)
        except ModelError as error:
            raise ModelError(f"{path} is not a model for visionbus: {error}") from error
        except UnicodeDecodeError as error:  # ONNX Runtime hands out strings as they are in the file
            raise ModelError(f"{path} is damaged ({error}): copy or train it again") from error
        self._version = hashlib.sha256(content).hexdigest()[:12]
        self._size = len(content)

    @property
    def name(self) -> str:
        """The name by which requests ask for the model."""
        return self._metadata.name

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the file's SHA-256."""
        return self._version

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self._size

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self._metadata.classes

    @property
    def input(self) -> Input:
        """The images that the model takes."""
        return self._metadata.input

    @property
    def figures(self) -> Mapping[str, object]:
        """How well it did when it was made; JSON values."""
        return self._metadata.figures

    @property
    def provenance(self) -> Mapping[str, object]:
        """How it was made; JSON values."""
        return self._metadata.provenance

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits, float32 [image, class], of images uint8 [image, height, width, channel]."""
        if len(batch) <= MAX_PART:
            return self._run(batch)
        return np.concatenate([self._run(batch[start : start + MAX_PART]) for start in range(0, len(batch), MAX_PART)])

    def warm_up(self) -> None:
        """Run the largest part once, so that memory is allocated before the first real batch."""
        self._run(np.zeros((MAX_PART, *self.input.shape), dtype=np.uint8))

    def _run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        (logits,) = self._session.run([LOGITS], {IMAGES: batch})
        return np.asarray(logits, dtype=np.float32)


class _Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # it has no types
    """A session that never falls back: it would print that on stdout, and try the CPU again.

    ONNX Runtime 1.20 sets this attribute whatever its arguments say, and reads it before its constructor returns.
    """

    _enable_fallback = property(lambda _: False, lambda _, __: None)


def _session(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Start ONNX Runtime from the bytes of a file: then a model cannot make it read other files."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan, and memory, for each batch size
    options.log_severity_level = 3  # errors only; they are raised as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other workers need the cores
    try:
        return _Session(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ModelError(f"{path} is not an ONNX model, or is truncated ({error}): copy or train it again") from error


def _check(session: onnxruntime.InferenceSession, metadata: Metadata) -> None:
    """Check that the graph agrees with the metadata."""
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    outputs = [(node.name, node.type, node.shape) for node in session.get_outputs()]
    if len(inputs) != 1 or inputs[0][:2] != (IMAGES, "tensor(uint8)"):
        raise ModelError(f"it takes {inputs} instead of uint8 {IMAGES!r}: export it again")
    if tuple(inputs[0][2][1:]) != metadata.input.shape or isinstance(inputs[0][2][0], int):
        raise ModelError(
            f"it takes images of shape {inputs[0][2]}, but its metadata says [any, {metadata.input.shape}]: "
            "export it again"
        )
    if len(outputs) != 1 or outputs[0][:2] != (LOGITS, "tensor(float)"):
        raise ModelError(f"it returns {outputs} instead of float32 {LOGITS!r}: export it again")
    if outputs[0][2][1:] != [len(metadata.classes)]:
        raise ModelError(
            f"it names {len(metadata.classes)} classes, but its logits have the shape {outputs[0][2]}: export it again"
        )
