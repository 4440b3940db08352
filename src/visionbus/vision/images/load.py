"""Turns the bytes of an image file, or raw pixels, into what a model takes."""

import logging
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from visionbus.vision.errors import ImageError
from visionbus.vision.images.colour import plain
from visionbus.vision.images.formats import LIMITS, Limits, damaged, header, open_image, quiet
from visionbus.vision.images.input import Input, Mode
from visionbus.vision.images.orientation import turn

_SHRUNK = 2048
_QUALITY = 90
_GAP = 3.0  # how much larger than the target a quick first reduction leaves the picture, before the exact one
_log = logging.getLogger(__name__)


def load(data: bytes, spec: Input, *, limits: Limits = LIMITS) -> npt.NDArray[np.uint8]:
    """Decode an image file (PNG, JPEG, WebP, GIF, BMP, TIFF) and fit it to `spec`.

    Greyscale and colour are converted to each other, alpha is composited over white, 16 bits are scaled to 8, and the
    EXIF orientation is applied. Of an animation, the first frame is used and a warning is logged.

    Args:
        data: the content of the file.
        spec: the shape of the result, and how to fit images of other shapes to it.
        limits: the largest image that is accepted.

    Returns:
        uint8 [height, width, channel], 0 to 255, of `spec.shape`; may be read-only.

    Raises:
        ImageError: if the file is too large, truncated, damaged, or not an image of these formats.
    """
    image = _decode(data, spec.mode, (spec.width, spec.height), limits)
    if image.size != (spec.width, spec.height):
        image = _fitted(image, spec)
    return np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(spec.shape)


def raw(data: bytes, shape: str, spec: Input) -> npt.NDArray[np.uint8]:
    """Return raw pixels as an array, if they have the shape that `spec` asks for.

    Args:
        data: one byte per value, in C order: rows, columns, channels.
        shape: `height,width,channels`, as in `28,28,1`.
        spec: what the model takes.

    Returns:
        uint8 [height, width, channel], a read-only view of `data`.

    Raises:
        ImageError: if `shape` is malformed or is not the model's, or if `data` has another length.
    """
    height, width, channels = spec.shape
    if shape.replace(" ", "") != f"{height},{width},{channels}":
        raise ImageError(
            f"raw pixels of shape {shape!r}, but the model wants {height},{width},{channels}: "
            "send that shape, or image files"
        )
    if len(data) != height * width * channels:
        raise ImageError(
            f"raw pixels of shape {shape} are {height * width * channels} bytes, not {len(data)}: send them all"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(spec.shape)


def shrink(data: bytes, *, limits: Limits = LIMITS) -> bytes:
    """Return an image file as a JPEG of at most 2,048 pixels per side: upright, alpha over white, greyscale if it was.

    Raises:
        ImageError: as for `load`.
    """
    mode: Mode = "L" if header(data, limits=limits)[2] else "RGB"
    image = _decode(data, mode, (_SHRUNK, _SHRUNK), limits)
    image.thumbnail((_SHRUNK, _SHRUNK), Image.Resampling.LANCZOS, reducing_gap=_GAP)
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _decode(data: bytes, mode: Mode, wanted: tuple[int, int], limits: Limits) -> Image.Image:
    """Decode to `mode`, upright; a JPEG much larger than `wanted` (width, height) is decoded at a reduced size."""
    image = open_image(data, limits)
    try:
        if isinstance(image, JpegImageFile):
            side = max(wanted) * 2  # twice: the filter does the rest; a square: it may yet be rotated
            image.draft(mode, (side, side))
        _read_pixels(image)
        if _is_animated(image):
            _log.warning("only the first frame of an animation, or page of a file, is used")
        turned = turn(image)
        upright = plain(image, mode)
        return upright if turned is None else upright.transpose(turned)
    except ImageError:
        raise
    except Exception as error:  # hostile bytes: decoders raise errors of any class
        raise damaged(image.format or "image", error) from error


def _read_pixels(image: ImageFile) -> None:
    """Decode the first frame."""
    if isinstance(image, TiffImageFile):
        with quiet():
            image.load()
    else:
        image.load()


def _is_animated(image: ImageFile) -> bool:
    """Return whether more frames follow the first."""
    if isinstance(image, GifImageFile):  # it looks for a second frame; the others know from the header
        with quiet():
            return image.is_animated
    return bool(getattr(image, "is_animated", False))  # `n_frames` would read every page of a TIFF


def _fitted(image: Image.Image, spec: Input) -> Image.Image:
    """Resize a plain picture to the size of `spec`, in the way that it asks for."""
    size = (spec.width, spec.height)
    filtering = Image.Resampling[spec.filter.upper()]
    if spec.fit == "stretch":
        return image.resize(size, filtering, reducing_gap=_GAP)
    if spec.fit == "crop":
        return image.resize(size, filtering, box=_middle(image.size, size), reducing_gap=_GAP)
    scale = min(spec.width / image.width, spec.height / image.height)
    inner = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    padded = Image.new(spec.mode, size)
    padded.paste(
        image.resize(inner, filtering, reducing_gap=_GAP), ((spec.width - inner[0]) // 2, (spec.height - inner[1]) // 2)
    )
    return padded


def _middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest centred box within `size` that has the aspect ratio of `wanted` (both width, height)."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    left, top = max((size[0] - wanted[0] * scale) / 2, 0.0), max((size[1] - wanted[1] * scale) / 2, 0.0)
    return (left, top, size[0] - left, size[1] - top)
