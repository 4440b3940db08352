"""Says what a model card says, from the metadata of a model file, and renders it in Markdown.

Mitchell et al.: Model Cards for Model Reporting (2019).
"""

import math
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from visionbus.vision.images import Mode
from visionbus.vision.onnx import OnnxModel
from visionbus.vision.text import plain

_PER_CLASS = "per_class"
_CHARTED = {_PER_CLASS, "history"}  # figures that are shown otherwise than as lists, or too many for a card
_MODES: Mapping[Mode, str] = MappingProxyType({"L": "greyscale", "RGB": "RGB"})
_WIDTH = 118

_LIMITS = (
    'Every image is assigned one of the classes above; there is no "none of these".',
    "The figures hold for images like those of the data set: others are fitted to the model's input all the same.",
    "Images with a different background or lighting, or with several objects, are often misclassified.",
)
_CALIBRATED = (
    "The probabilities were calibrated on held-out images of the same data set; on other images they are unreliable."
)
_UNCALIBRATED = "Nothing is known of how the probabilities were calibrated."


def card(model: OnnxModel) -> str:
    """Return the card as Markdown; everything in it comes from the model file."""
    lines = [
        f"# Model card: {_safe(model.name)}",
        "",
        f"An image classifier in one ONNX file, version `{model.version}`. `visionbus worker` serves it.",
        "",
        *(f"- {key}: {_safe(value)}" for key, value in uses(model).items()),
        "",
        "## Figures",
        "",
        *_bullets(listed_figures(model)),
        "",
        *_table(model.figures.get(_PER_CLASS)),
        "## Provenance",
        "",
        *_bullets(model.provenance),
        "",
        "## Limits",
        "",
        *(textwrap.fill(f"- {limit}", _WIDTH, subsequent_indent="  ") for limit in limits(model)),
        "",
    ]
    return "\n".join(lines)


def temperature(figures: Mapping[str, object]) -> float | None:
    """Return the temperature by which the logits were divided to calibrate them; None if the figures do not say."""
    validation = figures.get("validation")
    found = validation.get("temperature") if isinstance(validation, Mapping) else None
    return float(found) if isinstance(found, int | float) and 0 < found < math.inf else None


def limits(model: OnnxModel) -> tuple[str, ...]:
    """Say what a model cannot do."""
    return (*_LIMITS, _UNCALIBRATED if temperature(model.figures) is None else _CALIBRATED)


def uses(model: OnnxModel) -> dict[str, str]:
    """Say what a model takes and gives."""
    height, width, channels = model.input.shape
    return {
        "Input": f"images, uint8 [n, {height}, {width}, {channels}], 0 to 255, {_MODES[model.input.mode]}.",
        "Images of another size": f"fitted by {model.input.fit} with the {model.input.filter} filter.",
        "Output": "logits, float32 [n, classes]; their softmax gives the probabilities.",
        "Classes": f"{', '.join(map(plain, model.classes))}.",
    }


def listed_figures(model: OnnxModel) -> dict[str, object]:
    """Return the figures in a model's file that are few enough to be listed."""
    return {key: value for key, value in model.figures.items() if key not in _CHARTED}


def _bullets(values: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """Render a mapping as a bullet list, nested mappings as nested lists."""
    for key, value in values.items():
        label = "  " * depth + f"- {_safe(key.replace('_', ' '))}:"
        if isinstance(value, Mapping):
            yield label
            yield from _bullets(value, depth + 1)
        elif value is None or value == []:
            yield f"{label} none"
        elif isinstance(value, list):
            yield f"{label} {_safe(', '.join(map(str, value)))}"
        else:
            yield f"{label} `{plain(str(value))}`" if key == "command" else f"{label} {_safe(str(value))}"


def _table(per_class: object) -> Iterator[str]:
    """Render the figures of each class as a table; nothing if there are none."""
    if not isinstance(per_class, Mapping):
        return
    yield from ("## Per class, on the test set", "")
    columns: list[str] = []
    for name, figures in per_class.items():
        if not columns:
            columns = list(figures)
            yield f"| class | {' | '.join(columns)} |"
            yield "|---" * (len(columns) + 1) + "|"
        yield f"| {_safe(name)} | {' | '.join(str(figures[column]) for column in columns)} |"
    yield ""


def _safe(text: str) -> str:
    """Return somebody else's text as one line that is neither HTML nor ends a cell of a table."""
    return plain(text).replace("<", "&lt;").replace("|", r"\|")
