"""Finds images with the same pixels in two splits, or under two labels."""

import hashlib
from collections.abc import Callable, Sequence
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
    return np.frombuffer(_digest(pixels), np.uint8)


def digests(images: npt.NDArray[np.uint8]) -> Digests:
    """Return the digest of each image, uint8 [image, 16]."""
    return np.frombuffer(b"".join(map(_digest, images)), np.uint8).reshape(-1, 16)


def _digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


def find_leaks(marks: Digests, place: Callable[[int], Place]) -> tuple[list[tuple[Leak, list[int]]], int]:
    """Find the leaks among images.

    Args:
        marks: the digest of each image, uint8 [image, 16].
        place: tells where the image of an index is.

    Returns:
        Each leak with the indices of its images, and how many harmless copies there are: same split, same label.
    """
    leaks, copies = [], 0
    for members in _alike(marks):
        leak = Leak(tuple(map(place, members)))
        if leak.across_splits or leak.across_labels:
            leaks.append((leak, members))
        else:
            copies += len(members) - 1
    return leaks, copies


def _alike(marks: Digests) -> list[list[int]]:
    """Return the indices of the images that share a digest with others, group by group, in their order."""
    keys = np.ascontiguousarray(marks).view(np.uint64)
    order = np.lexsort(keys.T)  # stable
    begins = np.flatnonzero((np.diff(keys[order], axis=0, prepend=~keys[order[:1]]) != 0).any(axis=1))
    ends = np.append(begins[1:], len(order))
    several = np.flatnonzero(ends - begins > 1)
    return sorted(order[begins[one] : ends[one]].tolist() for one in several)


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
