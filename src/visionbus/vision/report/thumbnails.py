"""Turns images into small pictures that stand in the page itself."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

_BUDGET = 1_500_000  # characters of all thumbnails of a page
_SHARP = 32  # pixels; up to this size all are kept, without loss
_QUALITY = 72


class Thumbnails:
    """The small pictures of one page, as data URIs, which together stay below 1.5 MB."""

    def __init__(self) -> None:
        """Begin with an empty page."""
        self._left = _BUDGET

    def uri(self, image: npt.NDArray[np.uint8], side: int) -> str:
        """Return a data URI of `image`, uint8 [height, width, 1 or 3], of at most `side` pixels; empty without room."""
        uri = self._encoded(image, side) if self._left else ""
        self._left = max(self._left - len(uri), 0)
        return uri if self._left else ""

    @staticmethod
    def _encoded(image: npt.NDArray[np.uint8], side: int) -> str:
        picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
        file = io.BytesIO()
        if max(picture.size) <= _SHARP:
            kind = "png"
            picture.save(file, "PNG", optimize=True)
        else:
            kind = "webp"
            picture.thumbnail((side, side))
            picture.save(file, "WebP", quality=_QUALITY, method=2)
        return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
