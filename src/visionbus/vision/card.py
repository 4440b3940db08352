"""Renders a model card in Markdown from the metadata of a model file.

Mitchell et al.: Model Cards for Model Reporting (2019).
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from visionbus.vision.images import Mode
from visionbus.vision.onnx import OnnxModel

_PER_CLASS = "per_class"
_MODES: Mapping[Mode, str] = MappingProxyType({"L": "greyscale", "RGB": "RGB"})
_LIMITS = (
    '- Every image is assigned one of the classes above; there is no "none of these".',
    "- The figures hold for images like those of the data set. Other images (a different background or lighting,",
    "  several objects in one picture) are fitted to the model's input all the same, and are often misclassified.",
    "- The probabilities were calibrated on held-out images of the same data set; on other images they are unreliable.",
)


def card(model: OnnxModel) -> str:
    """Return the card as Markdown; everything in it comes from the model file."""
    height, width, channels = model.input.shape
    lines = [
        f"# Model card: {model.name}",
        "",
        f"An image classifier in one ONNX file, version `{model.version}`. `visionbus worker` serves it.",
        "",
        f"- Input: `images`, uint8 [n, {height}, {width}, {channels}], 0 to 255, {_MODES[model.input.mode]}.",
        f"- Images of another size are fitted by `{model.input.fit}` with the {model.input.filter} filter.",
        "- Output: `logits`, float32 [n, classes]; their softmax gives the probabilities.",
        f"- Classes: {', '.join(model.classes)}.",
        "",
        "## Figures",
        "",
        *_bullets({key: value for key, value in model.figures.items() if key != _PER_CLASS}),
        "",
        *_table(model.figures.get(_PER_CLASS)),
        "## Provenance",
        "",
        *_bullets(model.provenance),
        "",
        "## Limits",
        "",
        *_LIMITS,
        "",
    ]
    return "\n".join(lines)


def _bullets(values: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """Render a mapping as a bullet list, nested mappings as nested lists."""
    for key, value in values.items():
        label = "  " * depth + f"- {key.replace('_', ' ')}:"
        if isinstance(value, Mapping):
            yield label
            yield from _bullets(value, depth + 1)
        elif isinstance(value, list):
            yield f"{label} {', '.join(map(str, value))}"
        else:
            yield f"{label} `{value}`" if key == "command" else f"{label} {value}"


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
        yield f"| {name} | {' | '.join(str(figures[column]) for column in columns)} |"
    yield ""
