"""The metadata of a model file: what the .onnx file says about itself, each value as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from visionbus.vision.errors import ModelError
from visionbus.vision.images import Input
from visionbus.vision.names import is_name

FORMAT = 1
_PREFIX = "visionbus."


@dataclass(frozen=True)
class Metadata:
    """A model's description of itself.

    Attributes:
        name: the name by which requests ask for it.
        classes: the names of the classes, in the order of the logits.
        input: the images that it takes.
        figures: how well it does: data set, split sizes, accuracy, ...; JSON values.
        provenance: how it was made: command, seed, versions, precision, processor; JSON values.
    """

    name: str
    classes: tuple[str, ...]
    input: Input
    figures: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)

    def to_properties(self) -> dict[str, str]:
        """Return the metadata as it is stored in the file: JSON texts by their keys."""
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
        """Return the metadata that `to_properties` turned into `properties`.

        Raises:
            ModelError: if a value is missing, damaged, or of a newer format.
        """
        version = _value(properties, "format")
        if type(version) is not int or version != FORMAT:
            cure = "upgrade visionbus" if type(version) is int and version > FORMAT else "export it again"
            raise ModelError(f"it has format {version!r}, but this visionbus reads {FORMAT}: {cure}")
        name = _value(properties, "name")
        classes = _value(properties, "classes")
        figures, provenance = _value(properties, "figures"), _value(properties, "provenance")
        if not is_name(name):
            raise ModelError(f"its name must be a non-empty text, not {name!r}: export it again")
        if not isinstance(classes, list) or not all(map(is_name, classes)):
            raise ModelError(f"its classes must be a list of non-empty texts, not {classes!r}: export it again")
        if not classes or len(set(classes)) != len(classes):
            raise ModelError(f"its classes must be distinct names, at least one, not {classes!r}: export it again")
        if not isinstance(figures, dict) or not isinstance(provenance, dict):
            raise ModelError("its figures and provenance must be JSON objects: export it again")
        try:
            spec = Input.from_json(_value(properties, "input"))
        except ValueError as error:
            raise ModelError(f"its input is invalid ({error}): export it again") from error
        return cls(name, tuple(classes), spec, figures, provenance)


def _value(properties: Mapping[str, str], key: str) -> object:
    """Return one JSON value."""
    try:
        value: object = json.loads(properties[_PREFIX + key])
    except KeyError:
        raise ModelError(f"it has no metadata {_PREFIX}{key}: make it with `visionbus train`") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its metadata {_PREFIX}{key} is not JSON ({error}): export it again") from error
    return value
