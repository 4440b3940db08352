"""The errors of visionbus.vision, one tree.

VisionError
├── ImageError     bytes or pixels that cannot be turned into what a model takes (also a ValueError)
├── DatasetError   a data set that is missing, damaged or not understood (also a ValueError)
└── ModelError     a model file that is missing, damaged or not ours (also a ValueError)

Each message names what is wrong, where, and what to do about it.
"""


class VisionError(Exception):
    """Base class of the errors of `visionbus.vision`."""


class ImageError(VisionError, ValueError):
    """The image cannot be used; the rest of its batch can."""


class DatasetError(VisionError, ValueError):
    """The data set cannot be used as it is."""


class ModelError(VisionError, ValueError):
    """The model file cannot be used."""
