"""Tokens for OAUTHBEARER that something else issues, from where they are kept."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from visionbus.messaging.drivers.kafka.logs import log
from visionbus.messaging.errors import AccessError

if TYPE_CHECKING:
    from visionbus.messaging.drivers.kafka.secret import Secret, SecretSource

OPAQUE_LIFE = 60.0  # seconds until a token that does not tell its end is read again


def oauth_token(source: SecretSource, _config: str) -> tuple[str, float, str, dict[str, str]]:
    """Answer librdkafka's `oauth_cb`, on a thread of its own: token, end (seconds since 1970), principal, extensions.

    librdkafka asks again after four fifths of the token's life, and 10 s after an error.
    """
    try:
        token, ends = current(source)
    except AccessError as error:
        log.error("no token for Kafka: %s", error)  # the client library swallows what its callback raises
        raise
    return str(token), ends, str(_claims(token).get("sub", "")), {}


def current(source: SecretSource) -> tuple[Secret, float]:
    """Return a token and its end, in seconds since 1970; `AccessError` if it cannot be read, or has ended."""
    token = source.now()
    ends = _claims(token).get("exp")
    if not isinstance(ends, int | float):
        return token, time.time() + OPAQUE_LIFE
    if ends <= time.time():
        raise AccessError(f"the token that {source.where} gives has ended: whatever issues it is to issue a new one")
    return token, float(ends)


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a JSON Web Token (RFC 7519), not verified: that is the broker's part; {} if it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    payload = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
