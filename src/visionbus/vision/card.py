"""Renders a model card, Markdown, from what a model file says about itself.

Mitchell et al.: Model Cards for Model Reporting (2019).
"""

from collections.abc import Iterator, Mapping

from visionbus.vision.onnx import OnnxModel

_PER_CLASS = "per_class"
_LIMITS = (
    "- Every image gets one of the classes above; there is no answer for anything else.",
    "- The figures hold for images like those of the data set. Others (another background or light, several things in",
    "  one picture) are brought to the model's input all the same, and often classified wrongly.",
    "- Probabilities were calibrated on held-out images of the same data set, and mean little on others.",
)


def card(model: OnnxModel) -> str:
    """Give the card as Markdown: all of it comes out of the file."""
    height, width, channels = model.input.shape
    lines = [
        f"# Model card: {model.name}",
        "",
        f"An image classifier in one ONNX file, version `{model.version}`. `visionbus worker` serves it.",
        "",
        f"- In: `images`, uint8 [n, {height}, {width}, {channels}], 0 to 255, {model.input.mode}.",
        f"- Other images are brought to it: {model.input.fit}, {model.input.filter} filter.",
        "- Out: `logits`, float32 [n, classes]; their softmax is the probabilities.",
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
    """Render a mapping as a list, mappings in it as lists in the list."""
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
    """Render the figures of each class, where they are known."""
    if not isinstance(per_class, Mapping):
        return
    yield from ("## Each class, on the test part", "")
    columns: list[str] = []
    for name, figures in per_class.items():
        if not columns:
            columns = list(figures)
            yield f"| class | {' | '.join(columns)} |"
            yield "|---" * (len(columns) + 1) + "|"
        yield f"| {name} | {' | '.join(str(figures[column]) for column in columns)} |"
    yield ""
