"""Opens image files of the allowed formats, limits first."""

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from visionbus.vision.errors import ImageError

# Pillow's own opener would first warn of large pictures, and know formats that we do not allow.
FORMATS: Mapping[str, Callable[[BytesIO], ImageFile]] = MappingProxyType(
    {
        "PNG": PngImageFile,
        "JPEG": JpegImageFile,
        "WebP": WebPImageFile,
        "GIF": GifImageFile,
        "BMP": BmpImageFile,
        "TIFF": TiffImageFile,
    }
)

_MOST_PIXELS = 89_478_485  # where Pillow begins to warn
_warnings_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """How much of an image is looked at before it is refused.

    Attributes:
        size: of the file, bytes.
        pixels: width times height, from the header; at most 89,478,485. Decoding takes up to 16 bytes a pixel.
    """

    size: int = 64 * 2**20
    pixels: int = 64 * 2**20

    def __post_init__(self) -> None:
        """Refuse limits under which nothing passes, or that the decoder does not support."""
        if self.size < 1 or not 1 <= self.pixels <= _MOST_PIXELS:
            raise ValueError(f"limits must be at least 1, pixels at most {_MOST_PIXELS}, not {self}")


LIMITS = Limits()
GREY = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})


def open_image(data: bytes, limits: Limits) -> ImageFile:
    """Read the header of an image file; its pixels are decoded later.

    Raises:
        ImageError: when it is too large, cut short, or no image of an allowed format.
    """
    if len(data) > limits.size:
        raise ImageError(f"the file has {len(data)} bytes, more than {limits.size}: send a smaller one (--shrink)")
    name = _format(data)
    if not _complete(data, name):
        raise ImageError(f"the {name} file is cut short: send it again, whole")
    try:
        image = _open(data, name)
    except Exception as error:  # hostile bytes: SyntaxError, struct.error, EOFError, OverflowError were all seen
        raise damaged(name, error) from error
    width, height = image.size
    if width * height > limits.pixels:
        raise ImageError(
            f"the {name} file says that it has {width} x {height} pixels, more than {limits.pixels}: "
            "send a smaller one (--shrink)"
        )
    return image


def header(data: bytes, *, limits: Limits = LIMITS) -> tuple[int, int, bool]:
    """Tell an image file's height and width as stored, and whether it is grey, without decoding it.

    Raises:
        ImageError: as `open_image`.
    """
    image = open_image(data, limits)
    return image.height, image.width, image.mode in GREY


def damaged(name: str, error: Exception) -> ImageError:
    """Make of what the decoder of the format `name` raised the error that callers know."""
    return ImageError(f"the {name} file is damaged ({error}): send a whole one")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoder's warnings in. They are switched off for the whole process, so one thread at a time."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _format(data: bytes) -> str:
    """Tell the format by the first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if data.startswith(b"BM"):
        return "BMP"
    if not data:
        raise ImageError("the file is empty: send an image")
    raise ImageError(f"not an image that is known here (it begins with {data[:8]!r}); known: {', '.join(FORMATS)}")


def _complete(data: bytes, name: str) -> bool:
    """See whether the end is there, for formats whose decoder is content when the pixels are."""
    if name == "PNG":
        return data.endswith(b"IEND\xae\x42\x60\x82") or b"IEND\xae\x42\x60\x82" in data
    if name == "JPEG":  # within a scan, the bytes of the end marker cannot stand
        return b"\xff\xd9" in data[max(data.rfind(b"\xff\xda"), 0) :]
    if name == "WebP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if name == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    return True


def _open(data: bytes, name: str) -> ImageFile:
    """Parse the header; only where that may warn is the price of keeping it quiet paid."""
    noisy = name in {"TIFF", "GIF"} or (b"acTL" if name == "PNG" else b"Exif") in data
    if not noisy:
        return FORMATS[name](BytesIO(data))
    with quiet():
        return FORMATS[name](BytesIO(data))
