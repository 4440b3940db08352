"""`pubsub://`: Google Cloud Pub/Sub, by gRPC calls of its own, with its official package's protobuf messages."""

from importlib.util import find_spec

from visionbus.messaging.errors import MissingExtraError


def _is_installed() -> bool:
    try:
        return find_spec("google.pubsub_v1") is not None
    except ModuleNotFoundError:  # no package of Google's at all
        return False


if not _is_installed():
    raise MissingExtraError("pubsub:// needs google-cloud-pubsub: pip install 'visionbus[pubsub]'")

from visionbus.messaging.drivers.pubsub.driver import PubsubDriver  # noqa: E402 (what it imports is there now)

__all__ = ["PubsubDriver"]
