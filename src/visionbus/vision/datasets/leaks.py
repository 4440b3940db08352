"""Finds images with the same pixels in two splits, or under two labels."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from visionbus.vision.datasets.listing import Part

Digests = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """Where an image is: its split, the name of its class, and its own name."""

    part: Part
    label: str
    name: str


@dataclass(frozen=True)
class Leak:
    """Images with the same pixels that are in different splits, or have different labels.

    Attributes:
        places: where they are, at least two.
    """

    places: tuple[Place, ...]

    @property
    def across_splits(self) -> bool:
        """Whether they are in different splits."""
        return len({place.part for place in self.places}) > 1

    @property
    def across_labels(self) -> bool:
        """Whether they have different labels."""
        return len({place.label for place in self.places}) > 1


def digest(pixels: npt.NDArray[np.uint8]) -> Digests:
    """Return 16 bytes, uint8 [16], that are the same for the same pixels."""
    return np.frombuffer(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), np.uint8)


def digests(images: npt.NDArray[np.uint8]) -> Digests:
    """Return the digest of each image, uint8 [image, 16]."""
    return np.stack([digest(image) for image in images]) if len(images) else np.zeros((0, 16), np.uint8)


def find_leaks(marks: Digests, places: Sequence[Place]) -> tuple[list[tuple[Leak, list[int]]], int]:
    """Find the leaks among images.

    Args:
        marks: the digest of each image, uint8 [image, 16].
        places: where each is.

    Returns:
        Each leak with the indices of its images, and how many harmless copies there are: same split, same label.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, mark in enumerate(marks):
        groups[mark.tobytes()].append(index)
    leaks, copies = [], 0
    for members in groups.values():
        if len(members) > 1:
            leak = Leak(tuple(places[index] for index in members))
            if leak.across_splits or leak.across_labels:
                leaks.append((leak, members))
            else:
                copies += len(members) - 1
    return leaks, copies


def kept_out(leaks: Sequence[tuple[Leak, list[int]]]) -> list[int]:
    """Return the images that must not measure anything: those under two labels, and what an earlier split has, too.

    Test loses what training or validation has, validation what training has; training loses nothing.
    """
    order = ("train", "validation", "test")
    out = []
    for leak, members in leaks:
        first = min(order.index(place.part) for place in leak.places)
        for place, index in zip(leak.places, members, strict=True):
            rank = order.index(place.part)
            if rank > first or (leak.across_labels and rank > 0):
                out.append(index)
    return out
