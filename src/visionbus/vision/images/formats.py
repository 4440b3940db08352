"""Opens image files of the allowed formats, checking the limits first."""

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

# Pillow's own opener would warn about large pictures first, and accepts formats that are not allowed here.
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

# The second byte of a JPEG's markers before a scan: frames, tables, what applications add (EXIF is one), comments.
_SEGMENTS = frozenset({0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})
_MAX_PIXELS = 89_478_485  # above this Pillow warns
_warnings_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """The largest image that is accepted.

    Attributes:
        size: of the file, in bytes.
        pixels: width times height, from the header; at most 89,478,485. Decoding takes up to 16 bytes per pixel.
        side: width or height, in pixels, from the header. A picture one pixel wide takes far more memory per pixel.

    Raises:
        ValueError: if a limit is below 1, or `pixels` is too large.
    """

    size: int = 64 * 2**20
    pixels: int = 64 * 2**20
    side: int = 65_535

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.size, self.side) < 1 or not 1 <= self.pixels <= _MAX_PIXELS:
            raise ValueError(f"limits must be at least 1, and pixels at most {_MAX_PIXELS}, not {self}")


LIMITS = Limits()
GREY = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})


def open_image(data: bytes, limits: Limits) -> ImageFile:
    """Read the header of an image file; its pixels are decoded later.

    Raises:
        ImageError: if it is too large, truncated, or not an image of an allowed format.
    """
    if len(data) > limits.size:
        raise ImageError(f"the file has {len(data)} bytes, more than {limits.size}: use a smaller image")
    name = _format(data)
    if not _complete(data, name):
        raise ImageError(f"the {name} file is truncated: use the complete file")
    try:
        image = _open(data, name)
    except Exception as error:  # hostile bytes: SyntaxError, struct.error, EOFError, OverflowError were all seen
        raise damaged(name, error) from error
    width, height = image.size
    if width * height > limits.pixels:
        raise ImageError(
            f"the {name} file has {width} x {height} pixels, more than {limits.pixels}: use a smaller image"
        )
    if max(width, height) > limits.side:
        raise ImageError(
            f"the {name} file has {width} x {height} pixels, more than {limits.side} on a side: cut it into parts"
        )
    return image


def header(data: bytes, *, limits: Limits = LIMITS) -> tuple[int, int, bool]:
    """Return an image file's height and width as stored, in pixels, and whether it is greyscale, without decoding it.

    Raises:
        ImageError: as for `open_image`.
    """
    image = open_image(data, limits)
    return image.height, image.width, image.mode in GREY


def damaged(name: str, error: Exception) -> ImageError:
    """Translate what the decoder of the format `name` raised."""
    return ImageError(f"the {name} file is damaged ({error}): use an intact copy")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the decoder's warnings. That affects the whole process, so only one thread does it at a time."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _format(data: bytes) -> str:
    """Return the format, recognised by the first bytes."""
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
        raise ImageError("the file is empty: use an image file")
    if data[4:8] == b"ftyp":  # ISO base media: HEIC and AVIF, MP4 and MOV
        raise ImageError("a HEIC or AVIF image, or a video: convert such images to JPEG first, and move videos out")
    raise ImageError(f"not an image of a known format (it begins with {data[:8]!r}); known: {', '.join(FORMATS)}")


def _complete(data: bytes, name: str) -> bool:
    """Return whether the end of the file is there, for formats whose decoder does not look for it."""
    if name == "PNG":
        return data.endswith(b"IEND\xae\x42\x60\x82") or b"IEND\xae\x42\x60\x82" in data
    if name == "JPEG":  # the end marker cannot occur within a scan, so no scan begins behind the last one
        end = data.rfind(b"\xff\xd9")
        return end >= 0 and data.find(b"\xff\xda", end) < 0
    if name == "WebP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    if name == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    return True


def _open(data: bytes, name: str) -> ImageFile:
    """Parse the header, suppressing warnings only for files that may cause some: it takes a lock."""
    sign = b"acTL" if name == "PNG" else b"Exif"
    noisy = name in {"TIFF", "GIF"} or data.find(sign, 0, _header_size(data) if name == "JPEG" else None) >= 0
    if not noisy:
        return FORMATS[name](BytesIO(data))
    with quiet():
        return FORMATS[name](BytesIO(data))


def _header_size(data: bytes) -> int:
    """Return where a JPEG's first scan begins; its whole length unless it is made as the standard says (ITU-T T.81)."""
    place = 2
    while (kind := data[place : place + 2]) != b"\xff\xda":
        if len(kind) < 2 or kind[0] != 0xFF or kind[1] not in _SEGMENTS:
            return len(data)
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return place
