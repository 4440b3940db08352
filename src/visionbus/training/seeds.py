"""Derives random numbers from a seed and a place in the training, so that a training can go on at any step."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived(seed: int, *place: object) -> int:
    """Return a number, 0 to 2^63 - 1, that depends on the seed and the place alone."""
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def random_state_of_its_own(device: torch.device) -> Iterator[None]:
    """Leave torch's random states, of the processor and of `device`, as they were before the block."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
