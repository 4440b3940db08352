"""The errors of gRPC and of Google's authentication, as those of messaging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.auth.exceptions import GoogleAuthError, TransportError
from grpc import RpcError, StatusCode

from visionbus.messaging.errors import (
    AccessError,
    MessagingError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Collection

# After which status the same call may succeed. Publishing: as Google's own client does it; CANCELLED is what a
# connection that breaks may leave, as what we cancel ourselves is told by asyncio. The others: what changes nothing or
# is harmless when done twice.
RETRIED_PUBLISH = frozenset(
    {
        StatusCode.ABORTED,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.UNAVAILABLE,
        StatusCode.UNKNOWN,
    }
)
RETRIED_ADMIN = RETRIED_PUBLISH  # a creation that was done and is made again says ALREADY_EXISTS
RETRIED_ACK = RETRIED_PUBLISH  # acks, extensions and nacks: each may be repeated
RETRIED_STREAM = RETRIED_PUBLISH  # a stream that ended so is opened again

_CLASSES: dict[StatusCode, type[MessagingError]] = {  # what is in none of these stays general
    StatusCode.NOT_FOUND: NotFoundError,
    StatusCode.PERMISSION_DENIED: AccessError,
    StatusCode.UNAUTHENTICATED: AccessError,
    **dict.fromkeys(RETRIED_STREAM, UnavailableError),
}
_CURES: dict[type[MessagingError], str] = {
    NotFoundError: "declare it first (Bus.declare, or `visionbus bus declare`)",
    AccessError: "check the credentials and the IAM roles",
    TooLargeError: "send less",
    UnavailableError: "check the network, the endpoint, and PUBSUB_EMULATOR_HOST where an emulator is meant",
}


_UNKNOWN_CALLER = "check the credentials, or PUBSUB_EMULATOR_HOST where an emulator is meant"
_QUOTA = "a quota of the project is used up: send and receive more slowly, or have the quota raised"


class Unauthorized(Exception):  # noqa: N818 (never seen by users: it says what happened)
    """Google's authentication gave no token, or could not read a file; `retryable` says whether to ask it again."""

    def __init__(self, error: GoogleAuthError | OSError) -> None:
        if isinstance(error, OSError):
            super().__init__(f"the credentials cannot be read: {error}")
            self.retryable = False
        else:
            super().__init__(str(error.args[0]) if error.args else type(error).__name__)
            self.retryable = isinstance(error, TransportError) or error.retryable


CALL_ERRORS = (RpcError, TimeoutError, Unauthorized)  # what a call raises


def status_of(error: Exception) -> StatusCode:
    """Return the gRPC status of an error of a call; of one before the call, the status that stands for the same."""
    if isinstance(error, Unauthorized):
        return StatusCode.UNAVAILABLE if error.retryable else StatusCode.UNAUTHENTICATED
    if isinstance(error, TimeoutError):
        return StatusCode.DEADLINE_EXCEEDED
    code: StatusCode = error.code() if isinstance(error, RpcError) else StatusCode.UNKNOWN
    return code


def fails_with(error: Exception, codes: Collection[StatusCode]) -> bool:
    """Return whether an error is one of a call, and its status one of these."""
    return isinstance(error, CALL_ERRORS) and status_of(error) in codes


def translated(error: BaseException, doing: str) -> MessagingError:
    """Return the error of messaging for one of a call; `doing` says what failed, as in "sending to 'images'".

    One of messaging stays as it is; what no call is known to raise becomes a general one.
    """
    if isinstance(error, MessagingError):
        return error
    if not isinstance(error, CALL_ERRORS):
        unknown = MessagingError(f"{doing} failed: {error!r}")
        unknown.__cause__ = error  # whose traceback tells of the mistake that it is
        return unknown
    code = status_of(error)
    cls = _CLASSES.get(code, MessagingError)
    said = (error.details() if isinstance(error, RpcError) else str(error)) or code.value[1]
    if code is StatusCode.INVALID_ARGUMENT and ("too large" in said or "exceed" in said):
        cls = TooLargeError
    cures = {StatusCode.RESOURCE_EXHAUSTED: _QUOTA, StatusCode.UNAUTHENTICATED: _UNKNOWN_CALLER}
    cure = cures.get(code) or _CURES.get(cls)
    return cls(f"{doing} failed: {said.rstrip('.')} ({code.name}){f': {cure}' if cure else ''}")
