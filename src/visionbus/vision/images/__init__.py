"""The bytes of an image file become the pixels that a model wants: the only decoding and fitting there is.

`input` says what a model wants, `formats` opens files within limits, `colour` and `orientation` bring every kind of
image to plain grey or RGB, and `load` puts them together.
"""

from visionbus.vision.images.formats import Limits
from visionbus.vision.images.input import Filter, Fit, Input, Mode
from visionbus.vision.images.load import load, raw, shrink

__all__ = ["Filter", "Fit", "Input", "Limits", "Mode", "load", "raw", "shrink"]
