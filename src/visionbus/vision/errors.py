"""The errors of visionbus.vision, one tree.

VisionError
├── ImageError     bytes or pixels that cannot become what a model wants (also a ValueError)
├── DatasetError   a data set that is missing, damaged or not understood (also a ValueError)
└── ModelError     a model file that is missing, damaged or not ours (also a ValueError)

Each message names what is wrong, where, and what to do about it.
"""


class VisionError(Exception):
    """Any of the below."""


class ImageError(VisionError, ValueError):
    """The image cannot be used; the others of its batch can."""


class DatasetError(VisionError, ValueError):
    """The data set cannot be used as it lies there."""


class ModelError(VisionError, ValueError):
    """The model file cannot be used."""
