"""Reads the weights of a trained network from a file, and fits them to a network's names; nothing in them is run."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from visionbus.training.errors import WeightsError

Weights = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model", "model_state", "state_dict_ema")  # under which training programs keep the weights
_COUNTER = "num_batches_tracked"  # of batch norms; not used here, and missing in some files
_HEAD = 2  # tensors of a head that a network without one does not need: its weight and its bias


def read(path: Path) -> Weights:
    """Return the tensors of a file: .safetensors, or what `torch.save` wrote, loaded without running anything in it.

    Raises:
        WeightsError: if the file is damaged, holds anything but tensors, or would run code.
        OSError: if it cannot be read.
    """
    with path.open("rb"):  # its errors name the file
        pass
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise WeightsError(f"{path} is no intact .safetensors file ({error}): fetch it again") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"{path} is refused: it holds more than tensors, or is damaged, and loading it might run code; ask for the "
            "weights as .safetensors, or save the state_dict alone"
        ) from error
    except (EOFError, KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} is no intact file of torch.save: fetch it again") from error
    return _unwrapped(content, path)


def matched(weights: Weights, wanted: Mapping[str, Tensor], source: str) -> Weights:
    """Return the weights under the names of a network: by their names, or, where those differ, by their order.

    By order, each must have the shape and the kind (weight, bias, running mean, ...) of its counterpart. A head at the
    end of the weights is left out where the network has none.

    Args:
        weights: as they were read.
        wanted: the network's own `state_dict()`.
        source: what to call the weights in errors.

    Raises:
        WeightsError: if the weights are of another network.
    """
    given = {name.removeprefix("module."): value for name, value in weights.items() if not name.endswith(_COUNTER)}
    names = [name for name in wanted if not name.endswith(_COUNTER)]
    if set(names) <= set(given):
        pairs = [(name, given[name]) for name in names]
    elif 0 <= len(given) - len(names) <= _HEAD:
        pairs = list(zip(names, given.values(), strict=False))
        for name, old in zip(names, given, strict=False):
            if name.rpartition(".")[2] != old.rpartition(".")[2]:
                raise WeightsError(f"{source}: {old} stands where the network has {name}: name its own weights")
    else:
        raise WeightsError(
            f"{source} has {len(given)} tensors, and the network {len(names)} with other names: name its own weights"
        )
    for name, value in pairs:
        if value.shape != wanted[name].shape:
            shapes = f"{list(value.shape)}, and the network's {list(wanted[name].shape)}"
            raise WeightsError(f"{source}: the shape of {name} is {shapes}: name its own weights")
    return {name: value.to(wanted[name].dtype) for name, value in pairs}


def _unwrapped(content: object, path: Path) -> Weights:
    """Return the tensors of a loaded file, out of what training programs wrap around them."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds something else than a network's state_dict: save that alone")
    return {str(name): value for name, value in content.items()}
