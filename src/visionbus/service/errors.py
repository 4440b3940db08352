"""The errors of the service, one tree.

    ServiceError
    ├── WireError               a message that is not a request, or not an answer, of visionbus (also a ValueError)
    ├── RefusedError            an image that cannot be sent; the others can (also a ValueError)
    ├── StoreError              a place that cannot keep answers (also a ValueError)
    ├── StoreUnavailableError   the store cannot take answers now; trying again later may help
    └── StartError              no worker can start

Errors of the bus are those of `visionbus.messaging.errors`.
"""

from __future__ import annotations


class ServiceError(Exception):
    """Any failure of the service."""


class WireError(ServiceError, ValueError):
    """A message is not a request, or not an answer, of visionbus; the text says why."""


class RefusedError(ServiceError, ValueError):
    """An image cannot be sent; the others can."""


class StoreError(ServiceError, ValueError):
    """A place cannot keep answers, or holds something else; the text names the cure."""


class StoreUnavailableError(ServiceError):
    """The store cannot take answers now (locked, full, out of reach); the same call may succeed later."""


class StartError(ServiceError):
    """No worker can start; the text is what the first one said."""
