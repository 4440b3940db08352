"""The service: clients send images, workers answer them, and the answers are kept; see `docs/service.md`."""

from visionbus.service.client import Client
from visionbus.service.errors import (
    RefusedError,
    ServiceError,
    StartError,
    StoreError,
    StoreUnavailableError,
    WireError,
)
from visionbus.service.images import Image
from visionbus.service.process import Specification
from visionbus.service.results import collect
from visionbus.service.stores import open_store
from visionbus.service.supervisor import Supervisor
from visionbus.service.wire import Answer
from visionbus.service.worker import serve

__all__ = [
    "Answer",
    "Client",
    "Image",
    "RefusedError",
    "ServiceError",
    "Specification",
    "StartError",
    "StoreError",
    "StoreUnavailableError",
    "Supervisor",
    "WireError",
    "collect",
    "open_store",
    "serve",
]
