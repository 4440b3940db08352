"""What a client may hand in as images, and the requests that become of them."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from visionbus.service import wire
from visionbus.service.errors import RefusedError
from visionbus.vision import ImageError, Limits
from visionbus.vision.files import read_limited
from visionbus.vision.images import shrink as shrink_image

if TYPE_CHECKING:
    from visionbus.messaging import Message

Pixels = npt.NDArray[np.uint8]
Content = str | os.PathLike[str] | bytes | Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image with what is to be said about it.

    `content`: a path, the bytes of an image file, or raw pixels, uint8 [h, w] or [h, w, c]. `name`: the last part of
    the request's id, instead of the path or the place in the sequence. `id`: the whole id. `key`: messages of one key
    stay in order. `model`: the only model that may answer.
    """

    content: Content
    name: str | None = None
    id: str | None = None
    key: str | None = None
    model: str | None = None


Item = Content | tuple[str, Content] | Image
Items = Iterable[Item] | AsyncIterable[Item] | Pixels


@dataclass(frozen=True, slots=True)
class Requests:
    """Makes requests of one run: `max_bytes` is the bus's limit; what is over it is refused, or shrunk to a JPEG.

    `model`: the only model that may answer, for images that name none themselves.
    """

    run: str
    max_bytes: int
    shrink: bool = False
    model: str | None = None

    def make(self, item: Item, index: int) -> Message:
        """Return the request for one item, the `index`-th of its sequence.

        Raises `RefusedError` for a file that cannot be read or is too large, `TypeError` for what is not an image.
        """
        image = _as_image(item)
        name = describe(image, index)
        data, shape = self._read(image.content, name)
        return self._fitting(image, name, data, shape)

    def _read(self, content: Content, name: str) -> tuple[bytes, tuple[int, ...] | None]:
        if isinstance(content, bytes):
            return content, None
        if isinstance(content, np.ndarray):
            if content.dtype != np.uint8 or content.ndim not in {2, 3}:
                raise TypeError(
                    f"{name}: pixels must be uint8 [h, w] or [h, w, c], not {content.dtype} {content.shape}"
                )
            return content.tobytes(), (*content.shape, 1)[:3]
        return self._read_file(Path(content), name), None

    def _read_file(self, path: Path, name: str) -> bytes:
        try:
            return read_limited(path, Limits().size if self.shrink else self.max_bytes)
        except OSError as error:
            cure = self._cure() if error.errno == errno.EFBIG else ""
            raise RefusedError(f"{name}: {error.strerror}{cure}") from error

    def _fitting(self, image: Image, name: str, data: bytes, shape: tuple[int, ...] | None) -> Message:
        whole = image.id or wire.request_id(self.run, os.fsencode(name))
        model = image.model or self.model
        message = wire.request(whole, data, run=self.run, shape=shape, model=model, key=image.key)
        if message.size > self.max_bytes and self.shrink and shape is None:
            try:
                data = shrink_image(data)
            except ImageError as error:
                raise RefusedError(f"{name}: cannot be shrunk: {error}") from error
            message = wire.request(whole, data, run=self.run, model=model, key=image.key)
        if message.size > self.max_bytes:
            raise RefusedError(
                f"{name}: {len(data)} bytes, over the bus's limit of {self.max_bytes}: use a smaller one{self._cure()}"
            )
        return message

    def _cure(self) -> str:
        return "" if self.shrink else ", or shrink it (--shrink)"


def describe(image: Image, index: int) -> str:
    """Return an image's name: its own, its path, or its place."""
    if image.name is not None:
        return image.name
    if isinstance(image.content, str | os.PathLike):
        return os.path.normpath(image.content)
    return image.id or str(index)


def _as_image(item: Item) -> Image:
    if isinstance(item, Image):
        return item
    if isinstance(item, tuple):
        name, content = item
        return Image(content, name=name)
    if isinstance(item, bytes | str | os.PathLike | np.ndarray):
        return Image(item)
    raise TypeError(f"{type(item).__name__} is not an image: give a path, bytes, uint8 pixels, (name, image) or Image")


def in_order(items: Items) -> Iterator[Item] | AsyncIterator[Item]:
    """Iterate over what a client was handed, in whatever shape; `TypeError` for a single path or file's bytes."""
    if isinstance(items, str | bytes | os.PathLike):
        raise TypeError("submit takes several images: put the one into a list")
    if isinstance(items, np.ndarray) and (items.dtype != np.uint8 or items.ndim not in {3, 4}):
        raise TypeError(f"a batch of pixels is uint8 [n, h, w] or [n, h, w, c], not {items.dtype} {items.shape}")
    return aiter(items) if isinstance(items, AsyncIterable) else iter(items)
