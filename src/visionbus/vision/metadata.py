"""What a model file says about itself: the metadata of the .onnx file, each value as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from visionbus.vision.errors import ModelError
from visionbus.vision.images import Input

FORMAT = 1
_PREFIX = "visionbus."


@dataclass(frozen=True)
class Metadata:
    """A model's description of itself.

    Attributes:
        name: what requests call it.
        classes: the names of the classes, in the order of the logits.
        input: what it wants to be shown.
        figures: how it was measured: data set, split sizes, accuracy, ...; JSON values.
        provenance: how it was made: command, seed, versions, precision, processor; JSON values.
    """

    name: str
    classes: tuple[str, ...]
    input: Input
    figures: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)

    def to_properties(self) -> dict[str, str]:
        """Give the file's metadata: JSON texts by their keys."""
        values = {
            "format": FORMAT,
            "name": self.name,
            "classes": self.classes,
            "input": self.input.to_json(),
            "figures": self.figures,
            "provenance": self.provenance,
        }
        return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "Metadata":
        """Read what `to_properties` gave.

        Raises:
            ModelError: when it is missing, damaged, or of a newer format.
        """
        version = _value(properties, "format")
        if not isinstance(version, int) or version > FORMAT:
            raise ModelError(f"it has format {version}, this visionbus reads {FORMAT}: upgrade visionbus")
        name = _value(properties, "name")
        classes = _value(properties, "classes")
        figures, provenance = _value(properties, "figures"), _value(properties, "provenance")
        if not isinstance(name, str) or not name:
            raise ModelError(f"its name is {name!r}, not a text: export it again")
        if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
            raise ModelError(f"its classes are {classes!r}, not a list of names: export it again")
        if not classes or len(set(classes)) != len(classes):
            raise ModelError(f"its classes are {classes!r}, not names that differ from each other: export it again")
        if not isinstance(figures, dict) or not isinstance(provenance, dict):
            raise ModelError("its figures and provenance are no JSON objects: export it again")
        try:
            spec = Input.from_json(_value(properties, "input"))
        except ValueError as error:
            raise ModelError(f"its input is not understood ({error}): export it again") from error
        return cls(name, tuple(classes), spec, figures, provenance)


def _value(properties: Mapping[str, str], key: str) -> object:
    """Read one JSON value."""
    try:
        value: object = json.loads(properties[_PREFIX + key])
    except KeyError:
        raise ModelError(f"it lacks the metadata {_PREFIX}{key}: make it with `visionbus train`") from None
    except ValueError as error:
        raise ModelError(f"its metadata {_PREFIX}{key} is no JSON ({error}): export it again") from error
    return value
