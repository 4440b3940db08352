"""Server: a small Pub/Sub for tests, over gRPC, that does what the emulator does not, and fails when told to.

In `async with Server(seed) as server`, `server.host` is what PUBSUB_EMULATOR_HOST takes. What its service knows
outlives `stop` and `start`. `faults` and `storm` say what goes wrong: by chance, repeatable by the seed.
"""

import asyncio
import inspect
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1.types import pubsub
from service import Refused, Service, check_ids, found

from visionbus.brokers.ports import free_ports

A_RESPONSE = 100  # messages in one, at most
OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 2**25),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
)


@dataclass
class Fault:
    """What becomes of a share of the calls of a method."""

    method: str
    code: grpc.StatusCode
    share: float = 1.0  # of the calls
    times: float = float("inf")  # then it is over
    effect: bool = False  # the call is done, and then the caller is told that it failed
    tries: float = float("inf")  # of one request that it strikes: then that goes through, however unlucky it is
    answers: int = field(default=0, init=False)  # how many calls got it
    struck: Counter = field(default_factory=Counter, init=False)  # by request

    def strikes(self, request, chance):
        """Tell whether a call gets it, by chance; `request` is the same when a call is made again."""
        if self.answers >= self.times or self.struck[request] >= self.tries or chance >= self.share:
            return False
        self.struck[request] += 1
        self.answers += 1
        return True


@dataclass
class Storm:
    """What happens to streams; the default is a quiet day."""

    codes: tuple[grpc.StatusCode, ...] = ()  # with one of these each stream ends
    silent: float = 0.0  # the share that is not read and not written any more instead, though its connection stands
    life: tuple[int, int] = (1, 20)  # responses before that, from and to
    copied: float = 0.0  # the share of messages that comes twice in a response
    repeated: float = 0.0  # the share of what is out that is delivered again, whenever a stream is written
    shuffled: bool = False  # the messages of a response come in any order, but those of a key in theirs


class Server:
    """Used in `async with`, or by `start` and `stop`."""

    def __init__(self, seed=0, service=None):
        self.service = service or Service()
        self.faults = []
        self.storm = Storm()
        self.heartbeat = 30.0  # seconds without a response: then a stream that knows heartbeats gets an empty one
        self.calls = Counter()  # by method, streams too
        self.streams = set()  # those that are open
        self.clients = {}  # by a client's id: the stream that was opened last
        self.port = 0
        self.random = random.Random(seed)
        self._server = None
        self._ticking = None

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        """Listen: the first time on a free port, then on the same one."""
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))
        self.port = self.port or free_ports(1)[0]
        self._server.add_insecure_port(self.host)
        await self._server.start()
        self._ticking = asyncio.create_task(self.service.tick())

    async def stop(self):
        """Break all connections."""
        self._ticking.cancel()
        await self._server.stop(None)

    def break_streams(self):
        """Let those that are open end now, as `storm` says."""
        for stream in self.streams:
            stream.life = 0
            stream.news.set()

    def fault(self, method, request):
        """Draw what is to become of a call, None if nothing."""
        self.calls[method] += 1
        of_method = [fault for fault in self.faults if fault.method == method]
        same = hash(request.SerializeToString()) if of_method else 0
        return next((fault for fault in of_method if fault.strikes(same, self.random.random())), None)

    def _handlers(self):
        for name, methods in METHODS.items():
            handlers = {method: self._unary(method, request) for method, request in methods.items()}
            if name.endswith("Subscriber"):
                handlers["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
                    self._streaming_pull,
                    pubsub.StreamingPullRequest.pb().FromString,
                    pubsub.StreamingPullResponse.pb().SerializeToString,
                )
            yield grpc.method_handlers_generic_handler(name, handlers)

    def _unary(self, name, request_class):
        method = getattr(self.service, "".join(f"_{one.lower()}" if one.isupper() else one for one in name)[1:])

        async def answer(request, context):
            fault = self.fault(name, request)
            if fault and not fault.effect:
                await context.abort(fault.code, f"{name} is not done: the test wants it so")
            try:
                answered = method(request)
                if inspect.isawaitable(answered):
                    answered = await answered
            except Refused as refused:
                await context.abort(refused.code, str(refused))
            if fault:
                await context.abort(fault.code, f"{name} is done: the test wants it so")
            return answered

        return grpc.unary_unary_rpc_method_handler(
            answer, request_class.FromString, lambda answered: answered.SerializeToString()
        )

    async def _streaming_pull(self, _, context):
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        try:
            await self._stream(first, context).run()
        except Refused as refused:
            await context.abort(refused.code, str(refused))

    def _stream(self, first, context):
        if fault := self.fault("StreamingPull", first):
            raise Refused(fault.code, "the stream is not opened: the test wants it so")
        subscription = found(self.service.subscriptions, first.subscription)
        if not 10 <= first.stream_ack_deadline_seconds <= 600:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "stream_ack_deadline_seconds is not 10 to 600")
        return Stream(self, subscription, first, context)


class Stream:
    """One streaming pull, from its first request to its end."""

    def __init__(self, server, subscription, first, context):
        self.first = first
        self.life = server.random.randint(*server.storm.life)  # responses
        self.news = asyncio.Event()
        self.silent = False  # for good, though its connection stands
        self.client = first.client_id or self  # who has what is out: a stream opened again under this id takes it over
        self._server = server
        self._service = server.service
        self._subscription = subscription
        self._context = context
        self._deadline = first.stream_ack_deadline_seconds

    async def run(self):
        """Serve it; `Refused` if it does not end by the client's wish."""
        events = self._service.news[self._subscription.name]
        events.add(self.news)
        self._server.streams.add(self)
        self._server.clients[self.client] = self
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda _: self.news.set())
        try:
            await self._write(reading)
            reading.result()  # raises what the client was refused
        finally:
            reading.cancel()
            self._server.streams.discard(self)
            events.discard(self.news)

    async def _read(self):
        """Do what the client asks for, until it asks for nothing more."""
        request = self.first
        while request is not grpc.aio.EOF:
            self._deadline = request.stream_ack_deadline_seconds or self._deadline
            check_ids(request)
            self._service.settle(
                self._subscription.name,
                request.ack_ids,
                request.modify_deadline_ack_ids,
                request.modify_deadline_seconds,
            )
            request = await self._context.read()

    async def _write(self, reading):
        now, heartbeat = asyncio.get_running_loop().time, self._server.heartbeat
        written = now()
        while not reading.done():
            self.news.clear()
            if self.life <= 0 and (self._server.storm.codes or self._server.storm.silent):
                await self._break(reading)
            messages = self._take()
            if messages or (self.first.protocol_version and now() - written >= heartbeat):
                self.life -= bool(messages)
                await self._context.write(self._response(messages))
                written = now()
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), heartbeat / 4)

    def _take(self):
        """Lease what the limits of the stream have room for, unless its client has opened another."""
        if self._server.clients[self.client] is not self:
            return []
        leasing = self._service.leasing.get(self._subscription.name)
        if leasing is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"{self._subscription.name} was deleted")
        leasing.repeat(self._server.storm.repeated, self._server.random.random)
        most, size = self.first.max_outstanding_messages, self.first.max_outstanding_bytes
        room = most - leasing.messages_out[self.client] if most > 0 else A_RESPONSE
        bytes_room = size - leasing.bytes_out[self.client] if size > 0 else float("inf")
        if room <= 0 or bytes_room <= 0:
            return []
        return self._service.deliver(self._subscription, self.client, self._deadline, min(room, A_RESPONSE), bytes_room)

    def _response(self, messages):
        storm, chance = self._server.storm, self._server.random
        messages = [copy for one in messages for copy in [one] * (1 + (chance.random() < storm.copied))]
        if storm.shuffled:
            messages = shuffled(messages, chance)
        response = pubsub.StreamingPullResponse.pb()(received_messages=messages)
        response.subscription_properties.message_ordering_enabled = self._subscription.enable_message_ordering
        return response

    async def _break(self, reading):
        """End, or fall silent until the client or the server ends it."""
        reading.cancel()
        storm, chance = self._server.storm, self._server.random
        if chance.random() < storm.silent:
            self.silent = True
            await asyncio.Event().wait()
        raise Refused(chance.choice(storm.codes), "the stream ends: the test wants it so")


def shuffled(messages, chance):
    """Give them in any order, but those of a key in theirs."""
    keys = [one.message.ordering_key for one in messages]
    of_key = {key: iter([one for one in messages if one.message.ordering_key == key]) for key in keys}
    loose = [one for one in messages if not one.message.ordering_key]
    of_key[""] = iter(chance.sample(loose, len(loose)))
    return [next(of_key[key]) for key in chance.sample(keys, len(keys))]


METHODS = {  # of each service, with the request that each takes
    "google.pubsub.v1.Publisher": {
        "CreateTopic": pubsub.Topic.pb(),
        "GetTopic": pubsub.GetTopicRequest.pb(),
        "DeleteTopic": pubsub.DeleteTopicRequest.pb(),
        "Publish": pubsub.PublishRequest.pb(),
    },
    "google.pubsub.v1.Subscriber": {
        "CreateSubscription": pubsub.Subscription.pb(),
        "GetSubscription": pubsub.GetSubscriptionRequest.pb(),
        "UpdateSubscription": pubsub.UpdateSubscriptionRequest.pb(),
        "DeleteSubscription": pubsub.DeleteSubscriptionRequest.pb(),
        "Pull": pubsub.PullRequest.pb(),
        "Acknowledge": pubsub.AcknowledgeRequest.pb(),
        "ModifyAckDeadline": pubsub.ModifyAckDeadlineRequest.pb(),
    },
    "google.iam.v1.IAMPolicy": {
        "GetIamPolicy": iam_policy_pb2.GetIamPolicyRequest,
        "TestIamPermissions": iam_policy_pb2.TestIamPermissionsRequest,
    },
}
