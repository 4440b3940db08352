"""What `receive` and `dead-letters` share: batches of deliveries, and how one is shown."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from visionbus.messaging import BlockingSubscription, Delivery

BATCH = 100  # messages a call, so that interrupting loses little work
HELD = 1000  # messages that a look holds back from other receivers, and in memory, unless --count says otherwise
PEEK_TIMEOUT = 2.0  # seconds without a message after which a bus is taken to have no more


def batches(receiver: BlockingSubscription, left: int, timeout: float | None) -> Iterator[list[Delivery]]:
    """Receive until `left` have come, or until nothing has for `timeout` seconds (None: never)."""
    while left > 0:
        batch = receiver.receive(min(BATCH, left), timeout=timeout)
        if not batch:
            return
        left -= len(batch)
        yield batch


def shown(data: bytes) -> str:
    """Show data that is text as it is, and any other as Base64: it might not be safe on a terminal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"base64:{_base64(data)}"
    safe = all(character.isprintable() or character in "\t\n\r" for character in text)
    return text if safe else f"base64:{_base64(data)}"


def document(one: Delivery) -> dict[str, object]:
    """Give all that is known of a delivery, for JSON; data that is not UTF-8 is under `base64`."""
    try:
        content = {"data": one.message.data.decode()}
    except UnicodeDecodeError:
        content = {"base64": _base64(one.message.data)}
    return {
        "id": one.id,
        "published": one.published.isoformat(),
        "attempt": one.attempt,
        "key": one.message.key,
        "attributes": dict(one.message.attributes),
        **content,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
