"""The connection to Pub/Sub: raw gRPC calls by name, with protobuf messages in and out."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from grpc import aio

from visionbus.messaging.drivers.pubsub.credentials import Authority
from visionbus.messaging.errors import ClosedError, MessagingError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from google.protobuf.message import Message

    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 4 * 1024 * 1024),
    # a connection that stands and goes nowhere: asked for a sign of life as often as Google's own clients do; gRPC
    # would wait for the answer for a minute, and leaves keepalive_timeout_ms unheeded (1.85)
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.ping_timeout_ms", 15_000),
    ("grpc.http2.max_pings_without_data", 0),  # any number: an idle receiver has no data
    # the defaults are 1 s and 2 min: long for an emulator, or a network, that comes back
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
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
    "CreateSubscription": _subscriber("name", types.Subscription.pb(), types.Subscription.pb()),
    "GetSubscription": _subscriber("subscription", types.GetSubscriptionRequest.pb(), types.Subscription.pb()),
    "GetIamPolicy": _Method(
        "google.iam.v1.IAMPolicy", "resource", iam_policy_pb2.GetIamPolicyRequest, policy_pb2.Policy
    ),
    "TestIamPermissions": _Method(
        "google.iam.v1.IAMPolicy",
        "resource",
        iam_policy_pb2.TestIamPermissionsRequest,
        iam_policy_pb2.TestIamPermissionsResponse,
    ),
    "Acknowledge": _subscriber("subscription", types.AcknowledgeRequest.pb(), empty_pb2.Empty),
    "ModifyAckDeadline": _subscriber("subscription", types.ModifyAckDeadlineRequest.pb(), empty_pb2.Empty),
}
TOKEN = 10.0  # seconds that a stream waits for a token: then it backs off, and asks again
_FORKED = (
    "this process was forked from one that used Pub/Sub, and gRPC, copied in the midst of its work, hangs or crashes: "
    "start processes by multiprocessing.get_context('spawn'), or before the first bus is used"
)
_SILENCE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})  # what no answer looks like
_PUBLISH = "/google.pubsub.v1.Publisher/Publish"
_STREAM = "/google.pubsub.v1.Subscriber/StreamingPull"
# The emulator does not notice that a client is dead, or has cancelled: it leases messages to such a stream for ever,
# and whole keys. It ends a stream whose deadline is over, so there each gets one, and is opened anew before.
EMULATED = 8.0  # seconds
RENEWED = 5.0  # seconds after which that is done

_processes: set[int] = set()  # that used gRPC: this one, and those that it was forked from, whose state gRPC has, too


def check_process() -> None:
    """Raise `MessagingError` in a process in which gRPC cannot work."""
    if _processes - {os.getpid()}:
        raise MessagingError(_FORKED)


class Connection:
    """One channel to Pub/Sub, or to the emulator, opened on the running event loop by the first call."""

    def __init__(self, settings: PubsubSettings) -> None:
        self._settings = settings
        self._authority = Authority(settings)
        self._channel: aio.Channel | None = None
        self._stubs: dict[str, tuple[Any, str]] = {}
        self._publish: Any = None
        self.renewed = RENEWED if settings.emulator else float("inf")  # seconds after which a stream is opened anew
        self.reached = False  # whether anything ever answered
        self._closed = False
        self._process = 0  # that opened the channel

    async def call(self, method: str, request: Message, timeout: float) -> Any:  # noqa: ANN401 (of many types)
        """Call a method by its name, and return its protobuf answer.

        Raises `grpc.aio.AioRpcError`, or `Unauthorized`, which `errors.translated` and `errors.status_of` take.
        """
        identity = await self._authority.metadata(timeout)
        stub, routed_by = self._stub(method)
        routing = ("x-goog-request-params", f"{routed_by}={getattr(request, routed_by)}")
        return await self._answer(stub(request, timeout=timeout, metadata=(routing, *identity)))

    async def publish(self, topic: str, messages: bytes, timeout: float) -> Any:  # noqa: ANN401 (protobuf)
        """Publish what `records.encoded` has made, one after the other, to a topic's path; return the PublishResponse.

        Raises what `call` does.
        """
        identity = await self._authority.metadata(timeout)
        if self._publish is None:
            self._publish = self._opened().unary_unary(_PUBLISH, None, types.PublishResponse.pb().FromString)
        request = types.PublishRequest.pb()(topic=topic).SerializeToString() + messages
        routing = ("x-goog-request-params", f"topic={topic}")
        return await self._answer(self._publish(request, timeout=timeout, metadata=(routing, *identity)))

    async def stream(self, subscription: str) -> aio.StreamStreamCall[Any, Any]:
        """Return a new StreamingPull call, for a subscription's path; nothing is sent yet.

        Raises `Unauthorized`, or `TimeoutError`.
        """
        identity = await self._authority.metadata(TOKEN)
        stub = self._opened().stream_stream(
            _STREAM,
            types.StreamingPullRequest.pb().SerializeToString,
            types.StreamingPullResponse.pb().FromString,
        )
        timeout = EMULATED if self._settings.emulator else None
        return stub(timeout=timeout, metadata=(("x-goog-request-params", f"subscription={subscription}"), *identity))

    async def close(self) -> None:
        """Close the channel: calls that are on their way end."""
        self._closed = True
        if self._channel is not None and self._process == os.getpid():
            await self._channel.close()

    async def _answer(self, call: Awaitable[Any]) -> Any:  # noqa: ANN401 (of many types)
        try:
            answer = await call
        except aio.AioRpcError as error:
            self.reached = self.reached or error.code() not in _SILENCE
            raise
        except asyncio.CancelledError:  # a channel that is closed does that to whoever waits for an answer
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise ClosedError("the bus was closed while Pub/Sub was asked: connect again") from None
            raise
        self.reached = True
        return answer

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
            self._process = os.getpid()
            _processes.add(self._process)
        return self._channel
