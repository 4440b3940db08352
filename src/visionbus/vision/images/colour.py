"""Converts every kind of pixel to plain greyscale or RGB."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from visionbus.vision.errors import ImageError
from visionbus.vision.images.input import Mode

_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
_SIXTEEN = {"I;16", "I;16L", "I;16B", "I;16N"}
_NO_RANGE = {"I", "F"}


def plain(image: Image.Image, mode: Mode) -> Image.Image:
    """Convert to `mode`: alpha is composited over white, 16 bits are scaled to 8.

    Raises:
        ImageError: if the pixels have no known range.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode in _NO_RANGE:
        raise ImageError("its pixels are 32-bit numbers without a known range: convert it to 8 or 16 bits first")
    if image.mode in _SIXTEEN:
        image = _scaled(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _over_white(image)
    return image if image.mode == mode else image.convert(mode)


def over_white(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Composite images, uint8 [image, height, width, 4], the last channel alpha, over white; return uint8 [..., 3]."""
    count, height, width, _ = pixels.shape
    column = Image.fromarray(np.ascontiguousarray(pixels).reshape(count * height, width, 4))
    return np.asarray(_over_white(column)).reshape(count, height, width, 3)


def _scaled(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255, rounded; the one transparent value, if any, becomes white."""
    values = np.asarray(image).astype(np.uint32)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
