"""Turns the bytes of an image file into the pixels that a model takes; nothing else decodes or resizes images.

`input` describes what a model takes, `formats` opens files within limits, `colour` and `orientation` convert every
kind of image to plain greyscale or RGB, and `load` puts them together.
"""

from visionbus.vision.images.formats import Limits
from visionbus.vision.images.input import Filter, Fit, Input, Mode
from visionbus.vision.images.load import load, raw, shrink

__all__ = ["Filter", "Fit", "Input", "Limits", "Mode", "load", "raw", "shrink"]
