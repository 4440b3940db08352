"""Service: the calls of Pub/Sub but for streams, and what they know: topics, subscriptions, messages, permissions.

Each method takes and returns protobuf messages, and raises `Refused` with the status that Google documents.
"""

import asyncio
import time
from itertools import count

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1.types import pubsub
from leasing import Leasing

TICK = 0.05  # seconds between two looks for leases that ran out
MOST_IDS = 2500  # in a request
MOST_BYTES = 512 * 1024  # of acks or modacks in a request
MOST_PUBLISHED = 1000  # messages in a request
MOST_PUBLISHED_BYTES = 10_000_000


class Refused(Exception):  # noqa: N818 (an answer, rather than an error of ours)
    """A call ends with a status."""

    def __init__(self, code, details):
        super().__init__(details)
        self.code = code
        self.details = details


class Service:
    """What is here outlives the server."""

    def __init__(self, clock=time.monotonic):
        self.topics = {}
        self.subscriptions = {}  # their protobuf messages, by name
        self.leasing = {}  # by name of the subscription
        self.denied = set()  # permissions that nobody has
        self.policies = {}  # by name of the topic or subscription; without one there are no grants
        self.news = {}  # by name of the subscription: events, one a stream
        self.clock = clock
        self._ids = count(1)

    async def tick(self):
        """Look for leases that ran out, for as long as the server runs."""
        while True:
            await asyncio.sleep(TICK)
            for name, leasing in self.leasing.items():
                if leasing.expire(self.clock()):
                    self._tell(name)

    def _tell(self, name):
        for event in self.news[name]:
            event.set()

    # topics and subscriptions

    def create_topic(self, topic):
        return _created(self.topics, topic)

    def get_topic(self, request):
        return found(self.topics, request.topic)

    def delete_topic(self, request):
        found(self.topics, request.topic)
        del self.topics[request.topic]
        for subscription in self.subscriptions.values():
            if subscription.topic == request.topic:
                subscription.topic = "_deleted-topic_"
        return Empty()

    def create_subscription(self, subscription):
        found(self.topics, subscription.topic)
        seconds = subscription.ack_deadline_seconds = subscription.ack_deadline_seconds or 10
        if not 10 <= seconds <= 600:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"ack_deadline_seconds: {seconds}")
        _created(self.subscriptions, subscription)
        self.leasing[subscription.name] = Leasing(ordered=subscription.enable_message_ordering)
        self.news[subscription.name] = set()
        return subscription

    def get_subscription(self, request):
        return found(self.subscriptions, request.subscription)

    def update_subscription(self, request):
        known = found(self.subscriptions, request.subscription.name)
        mask = request.update_mask
        mask.MergeMessage(request.subscription, known, replace_message_field=True, replace_repeated_field=True)
        return known

    def delete_subscription(self, request):
        found(self.subscriptions, request.subscription)
        del self.subscriptions[request.subscription], self.leasing[request.subscription]
        self._tell(request.subscription)
        del self.news[request.subscription]
        return Empty()

    def get_iam_policy(self, request):
        return self.policies.get(request.resource, policy_pb2.Policy())

    def test_iam_permissions(self, request):
        held = [one for one in request.permissions if one not in self.denied]
        return iam_policy_pb2.TestIamPermissionsResponse(permissions=held)

    # messages

    def publish(self, request):
        found(self.topics, request.topic)
        if len(request.messages) > MOST_PUBLISHED or request.ByteSize() > MOST_PUBLISHED_BYTES:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "too many messages, or too many bytes, in a request")
        if len({one.ordering_key for one in request.messages}) > 1:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "all messages of a request need the same key, or none")
        if any(not one.data and not one.attributes for one in request.messages):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "a message needs data or attributes")
        ids = []
        for message in request.messages:
            message.message_id = str(next(self._ids))
            message.publish_time.GetCurrentTime()
            ids.append(message.message_id)
        for name, subscription in self.subscriptions.items():
            if subscription.topic == request.topic:
                for message in request.messages:
                    self.leasing[name].publish(message, self.clock())
                self._tell(name)
        return pubsub.PublishResponse.pb()(message_ids=ids)

    async def pull(self, request):
        """Answer with what there is, waiting half a second at most for the first."""
        subscription = found(self.subscriptions, request.subscription)
        ends = self.clock() + 0.5
        while True:
            messages = self.deliver(subscription, object(), subscription.ack_deadline_seconds, request.max_messages)
            if messages or self.clock() > ends:
                return pubsub.PullResponse.pb()(received_messages=messages)
            await asyncio.sleep(TICK)

    def acknowledge(self, request):
        found(self.subscriptions, request.subscription)
        check_ids(request)
        self.settle(request.subscription, request.ack_ids, (), ())
        return Empty()

    def modify_ack_deadline(self, request):
        found(self.subscriptions, request.subscription)
        check_ids(request)
        seconds = [request.ack_deadline_seconds] * len(request.ack_ids)
        self.settle(request.subscription, (), request.ack_ids, seconds)
        return Empty()

    def settle(self, name, acked, modified, seconds):
        leasing, now = self.leasing[name], self.clock()
        for ack_id in acked:
            leasing.ack(ack_id, now)
        for ack_id, deadline in zip(modified, seconds, strict=True):
            if not 0 <= deadline <= 600:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"ack_deadline_seconds: {deadline}")
            leasing.modify(ack_id, now, deadline)
        self._tell(name)  # there may be room on a stream now

    def deliver(self, subscription, stream, deadline, messages, size=float("inf")):
        counted = subscription.HasField("dead_letter_policy")
        given = self.leasing[subscription.name].deliver(stream, self.clock(), deadline, messages, size)
        received = pubsub.ReceivedMessage.pb()
        return [
            received(ack_id=ack_id, message=entry.message, delivery_attempt=entry.attempt if counted else 0)
            for ack_id, entry in given
        ]


def _created(known, one):
    if one.name in known:
        raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Resource already exists in the project ({one.name}).")
    known[one.name] = one
    return one


def found(known, name):
    if name not in known:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found ({name}).")
    return known[name]


def check_ids(request):
    modified = getattr(request, "modify_deadline_ack_ids", ())
    if max(len(request.ack_ids), len(modified)) > MOST_IDS or request.ByteSize() > MOST_BYTES:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "too many ack ids, or too many bytes, in a request")
