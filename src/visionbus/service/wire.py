"""How a request and an answer look as messages: CloudEvents 1.0 in binary mode.

Sources: CloudEvents 1.0.2; its Kafka binding, section 3.2 (binary content mode); its Correlation extension.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

from visionbus.messaging import Message
from visionbus.service.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUESTS = "requests"  # topics, after the prefix and a dot
ANSWERS = "answers"
WORKERS = "workers"  # the subscription of the requests
RESULTS = "results"  # the subscription of the answers

REQUEST_TYPE = "visionbus.image.v1"
ANSWER_TYPE = "visionbus.answer.v1"
RAW_PIXELS = "application/vnd.visionbus.u8"
MAX_ID_BYTES = 1024
MAX_PROBABILITIES = 1000  # of the most probable classes: an answer stays far below any bus's size limit
_DIGITS = 7  # after the point: float32 has no more to say

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SIGNATURES = (  # how files of the allowed formats begin
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def check_run(run: str) -> str:
    """Return the run's name; raise `ValueError` unless it is 1 to 100 letters, digits, `.`, `_`, `-`."""
    if not _RUN.fullmatch(run):
        raise ValueError(
            f"run {run!r} is not a valid name: use 1 to 100 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return run


def request_id(run: str, name: str | bytes) -> str:
    """Return `<run>/<name>`, the name percent-encoded; where that is over 1,024 bytes, `<run>/` and its SHA-256."""
    whole = f"{run}/{quote(name)}"
    return whole if len(whole) <= MAX_ID_BYTES else f"{run}/{sha256(whole.encode()).hexdigest()}"


def content_type(data: bytes) -> str:
    """Return the media type of an image file by its first bytes; `application/octet-stream` where they are unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")


def request(
    request_id: str,
    data: bytes,
    *,
    run: str,
    shape: tuple[int, ...] | None = None,
    model: str | None = None,
    key: str | None = None,
) -> Message:
    """Return the message that asks for an image's class.

    `data` is an image file, or raw pixels where `shape` (height, width, channels) is given: one byte per value, the
    last axis fastest. Raises `ValueError` for an id that no bus carries.
    """
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": request_id,
        "ce-type": REQUEST_TYPE,
        "ce-source": f"/visionbus/runs/{run}",
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-correlationid": run,
        "content-type": RAW_PIXELS if shape else content_type(data),
    }
    if not request_id:
        raise ValueError("a request's id is empty: name the image")
    if shape:
        attributes["shape"] = ",".join(map(str, shape))
    if model:
        attributes["model"] = model
    return Message(data, key, attributes)


@dataclass(slots=True)  # not frozen: workers make one per image, and a frozen one takes three times as long
class Request:
    """One image to be classified, as it was received.

    `id`: the request's name. `data`: an image file, or raw pixels where `shape` ("h,w,c") is given. `model`: the name
    of the model that is wanted, if any. `run`: the sender's run, if it said so.
    """

    id: str
    data: bytes
    shape: str | None
    model: str | None
    run: str | None


def read_request(message: Message) -> Request:
    """Return the request that a message holds; raise `WireError` where it has no usable id, or is of another type.

    Only `ce-id` is needed: what was sent by hand with an id and an image is served.
    """
    get = message.attributes.get
    given = get("ce-id", "")
    if not 0 < len(given) <= MAX_ID_BYTES or not (given.isascii() or _is_usable(given)):
        raise WireError(_id_fault(given))
    if get("ce-type", REQUEST_TYPE) != REQUEST_TYPE:
        raise WireError(f"attribute ce-type is {get('ce-type')!r:.100}; a request's is {REQUEST_TYPE!r}")
    shape = get("shape", "") if get("content-type") == RAW_PIXELS else None
    return Request(given, message.data, shape, get("model"), _run_of(message.attributes))


def _run_of(attributes: Mapping[str, str]) -> str | None:
    """Return the run that a message belongs to; None where it is not a run's name, which an answer might not carry."""
    run = attributes.get("ce-correlationid")
    return run if run is not None and _RUN.fullmatch(run) else None


def _is_usable(given: str) -> bool:
    try:
        return len(given.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # it was not UTF-8, and came through surrogateescape
        return False


def _id_fault(given: str) -> str:
    if not given:
        return "no attribute ce-id, which names the request: set it to something unique"
    return f"attribute ce-id, {given[:40]!r}..., is over {MAX_ID_BYTES} bytes, or is not UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says about one request.

    `id`: the request's. `label`, and `probabilities` (0 to 1, the most probable first, 1,000 at most): empty in an
    error answer, which has its reason in `error`. `model`, `version`: who answers. `published` (by the request's
    broker), `received`, `done` (by the worker): seconds since the epoch. `run`: of the request, if it named one.
    """

    id: str
    label: str | None
    probabilities: tuple[tuple[str, float], ...]
    model: str
    version: str
    published: float
    received: float
    done: float
    error: str | None = None
    run: str | None = None

    def to_message(self) -> Message:
        """Return the message: the same request and model version always give the same `ce-id`."""
        name = f"{self.id}/{self.version}"
        if len(name) > MAX_ID_BYTES // 4 and len(encoded := name.encode()) > MAX_ID_BYTES:
            name = sha256(encoded).hexdigest()
        attributes = {
            "ce-specversion": "1.0",
            "ce-id": name,
            "ce-type": ANSWER_TYPE,
            "ce-source": "/visionbus/workers",
            "content-type": "application/json",
        }
        if self.run is not None:
            attributes["ce-correlationid"] = self.run
        return Message(self._to_json().encode(), None, attributes)

    def _to_json(self) -> str:
        # Written by hand, which is faster than json.dumps; a test compares the two.
        pairs = ",".join(
            [f"[{_text(label)},{round(p, _DIGITS)!r}]" for label, p in self.probabilities[:MAX_PROBABILITIES]]
        )
        return (
            f'{{"id":{_text(self.id)},"label":{_text(self.label)},"probabilities":[{pairs}],'
            f'"model":{{"name":{_text(self.model)},"version":{_text(self.version)}}},'
            f'"timings":{{"published":{self.published!r},"received":{self.received!r},"done":{self.done!r}}},'
            f'"error":{_text(self.error)}}}'
        )

    @classmethod
    def from_message(cls, message: Message) -> Answer:
        """Return the answer that a message holds; raise `WireError` where it is not an answer."""
        kind = message.attributes.get("ce-type")
        if kind != ANSWER_TYPE:
            raise WireError(f"attribute ce-type is {kind!r:.100}; an answer's is {ANSWER_TYPE!r}")
        try:
            return cls._from_json(json.loads(message.data), message.attributes)
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            raise WireError(f"not the JSON of an answer: {type(error).__name__}: {error}") from error

    @classmethod
    def _from_json(cls, value: Mapping[str, object], attributes: Mapping[str, str]) -> Answer:
        model, timings, pairs = value["model"], value["timings"], value["probabilities"]
        if not (isinstance(model, dict) and isinstance(timings, dict) and isinstance(pairs, list)):
            raise TypeError("model and timings must be objects, probabilities a list")
        answer = cls(
            _string(value["id"]),
            _string_or_none(value["label"]),
            tuple([(_string(label), _number(p)) for label, p in pairs]),
            _string(model["name"]),
            _string(model["version"]),
            _number(timings["published"]),
            _number(timings["received"]),
            _number(timings["done"]),
            _string_or_none(value["error"]),
            _run_of(attributes),
        )
        if (answer.label is None) != (not pairs) or (answer.label is None) == (answer.error is None):
            raise ValueError("an answer has a label and probabilities, or else an error")
        return answer


@lru_cache(maxsize=4096)
def _text(value: str | None) -> str:
    return json.dumps(value)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is not a string")
    value.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair: JSON can carry it, no store can
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _string_or_none(value: object) -> str | None:
    return None if value is None else _string(value)
