"""The connection to Pub/Sub: raw gRPC calls by name, with protobuf messages in and out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from grpc import aio

from visionbus.messaging.drivers.pubsub.credentials import Authority
from visionbus.messaging.errors import ClosedError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 4 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),  # as Google's own clients do
    ("grpc.use_local_subchannel_pool", 1),  # each connection has its own, however many there are in the process
)


@dataclass(frozen=True, slots=True)
class _Method:
    service: str
    routed_by: str  # the field whose value tells Google's front end where to send the call
    request: Any
    response: Any


def _publisher(routed_by: str, request: Any, response: Any) -> _Method:  # noqa: ANN401
    return _Method("google.pubsub.v1.Publisher", routed_by, request, response)


def _subscriber(routed_by: str, request: Any, response: Any) -> _Method:  # noqa: ANN401
    return _Method("google.pubsub.v1.Subscriber", routed_by, request, response)


_METHODS = {
    "CreateTopic": _publisher("name", types.Topic.pb(), types.Topic.pb()),
    "GetTopic": _publisher("topic", types.GetTopicRequest.pb(), types.Topic.pb()),
    "DeleteTopic": _publisher("topic", types.DeleteTopicRequest.pb(), empty_pb2.Empty),
    "Publish": _publisher("topic", types.PublishRequest.pb(), types.PublishResponse.pb()),
    "CreateSubscription": _subscriber("name", types.Subscription.pb(), types.Subscription.pb()),
    "GetSubscription": _subscriber("subscription", types.GetSubscriptionRequest.pb(), types.Subscription.pb()),
    "Acknowledge": _subscriber("subscription", types.AcknowledgeRequest.pb(), empty_pb2.Empty),
    "ModifyAckDeadline": _subscriber("subscription", types.ModifyAckDeadlineRequest.pb(), empty_pb2.Empty),
    "Pull": _subscriber("subscription", types.PullRequest.pb(), types.PullResponse.pb()),
}
_STREAM = "/google.pubsub.v1.Subscriber/StreamingPull"


class Connection:
    """One channel to Pub/Sub, or to the emulator, opened on the running event loop by the first call."""

    def __init__(self, settings: PubsubSettings) -> None:
        self._settings = settings
        self._authority = Authority(settings)
        self._channel: aio.Channel | None = None
        self._stubs: dict[str, tuple[Any, str]] = {}
        self._closed = False

    async def call(self, method: str, request: Message, timeout: float) -> Any:  # noqa: ANN401 (of many types)
        """Call a method by its name, and return its protobuf answer.

        Raises `grpc.aio.AioRpcError`, or `Unauthorized`, which `errors.translated` and `errors.status_of` take.
        """
        async with asyncio.timeout(timeout):
            identity = await self._authority.metadata()
        stub, routed_by = self._stub(method)
        routing = ("x-goog-request-params", f"{routed_by}={getattr(request, routed_by)}")
        return await stub(request, timeout=timeout, metadata=(routing, *identity))

    async def stream(self, subscription: str) -> aio.StreamStreamCall[Any, Any]:
        """Return a new StreamingPull call, for a subscription's path; nothing is sent yet."""
        identity = await self._authority.metadata()
        stub = self._opened().stream_stream(
            _STREAM,
            types.StreamingPullRequest.pb().SerializeToString,
            types.StreamingPullResponse.pb().FromString,
        )
        return stub(metadata=(("x-goog-request-params", f"subscription={subscription}"), *identity))

    async def close(self) -> None:
        """Close the channel: calls that are on their way end."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    def _stub(self, name: str) -> tuple[Any, str]:
        found = self._stubs.get(name)
        if found is None:
            method = _METHODS[name]
            stub = self._opened().unary_unary(
                f"/{method.service}/{name}", method.request.SerializeToString, method.response.FromString
            )
            found = self._stubs[name] = (stub, method.routed_by)
        return found

    def _opened(self) -> aio.Channel:
        if self._closed:
            raise ClosedError("the bus is closed: connect again")
        if self._channel is None:
            if self._settings.emulator:
                self._channel = aio.insecure_channel(self._settings.emulator, _OPTIONS)
            else:
                secure = grpc.ssl_channel_credentials()
                self._channel = aio.secure_channel(self._settings.endpoint, secure, _OPTIONS)
        return self._channel
