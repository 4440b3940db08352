"""The parameters of a `kafka://` URL, and the configurations of librdkafka's clients that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from visionbus.messaging.drivers.kafka.logs import ClientLog
from visionbus.messaging.drivers.kafka.security import PARAMETERS as SECURITY_PARAMETERS
from visionbus.messaging.drivers.kafka.security import SECRETS, Security
from visionbus.messaging.drivers.kafka.sessions import heartbeat_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visionbus.messaging.driver import Address

__all__ = ["PARAMETERS", "PREFIX", "SECRETS", "KafkaSettings"]


PREFIX = "rdkafka."  # of the URL parameters that are librdkafka settings
PARAMETERS = SECURITY_PARAMETERS | {
    "group_protocol",
    "linger",
    "names",
    "partitions",
    "prefetch_bytes",
    "replication_factor",
    "send_timeout",
}

TOGETHER = 0.001  # seconds: a send's messages are handed over meanwhile, then the producer sends them at once

_PORTS = range(1, 65_536)
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(:[0-9]{1,5})?")
_SECRET = re.compile(r"password|passphrase|secret|key\.pem$|^ssl_key$|token$")
_NO_SETTING = re.compile(r"_cb$|^(logger|on_delivery|default\.topic\.config)$|^test\.")  # of tests, or the client's own
_RUNS_CODE = frozenset({"plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.id", "ssl.engine.location"})
_CONSUMERS = ("check.crcs", "coordinator.", "fetch.", "group.", "max.partition.fetch.", "queued.")
_PRODUCERS = (
    "batch.",
    "compression.",
    "message.send.max.retries",
    "queue.buffering.",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.",
)
_HAVE_PARAMETERS = {  # librdkafka setting, its aliases too: the parameter that sets it
    **{name.replace("_", "."): name for name in SECURITY_PARAMETERS if not name.endswith("_file")},
    "delivery.timeout.ms": "send_timeout",
    "group.protocol": "group_protocol",
    "linger.ms": "linger",
    "message.timeout.ms": "send_timeout",
    "queue.buffering.max.ms": "linger",
    "queued.max.messages.kbytes": "prefetch_bytes",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.oauthbearer.client.credentials.client.id": "sasl_oauthbearer_client_id",
}
_DEPENDED_ON = frozenset(
    {  # the promises of the bus rest on these
        "acks",
        "allow.auto.create.topics",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "auto.offset.reset",
        "bootstrap.servers",
        "delivery.report.only.error",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "enable.partition.eof",
        "enabled_events",
        "group.id",
        "group.instance.id",
        "group.protocol.type",
        "heartbeat.interval.ms",
        "isolation.level",
        "log.queue",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "offset.store.method",
        "partition.assignment.strategy",
        "partitioner",
        "queuing.strategy",
        "request.required.acks",
        "session.timeout.ms",
        "transaction.timeout.ms",
        "transactional.id",
    }
)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """What a `kafka://` URL says. It holds no secret, only where secrets are kept."""

    bootstrap: str
    partitions: int | None = None  # of topics that `declare` creates; None: the broker's default
    replication_factor: int | None = None  # the same
    group_protocol: Literal["consumer", "classic"] = "consumer"  # KIP-848, or that of brokers before 4.0
    verbatim_names: bool = False  # groups are called by the subscription's bare name
    send_timeout: float = 30.0  # seconds until an unconfirmed message is given up
    linger: float = 0.0  # seconds that a message waits for company
    prefetch_bytes: int = 16 * 1024 * 1024  # read ahead by a receiver
    security: Security = field(default_factory=Security)
    rdkafka: Mapping[str, str] = field(default_factory=dict)  # further librdkafka settings

    @classmethod
    def parse(cls, address: Address) -> KafkaSettings:
        """Take a URL apart, and read the secrets once; `ValueError` for what does not fit, naming the cure."""
        given = address.parameters
        rdkafka = {
            _allowed(name.removeprefix(PREFIX)): value for name, value in given.items() if name.startswith(PREFIX)
        }
        settings = cls(
            bootstrap=_bootstrap(address),
            partitions=address.integer("partitions", 1, 100_000),  # librdkafka's limit
            replication_factor=address.integer("replication_factor", 1, 2**15 - 1),
            group_protocol=cast(
                'Literal["consumer", "classic"]', address.choice("group_protocol", "consumer", "classic") or "consumer"
            ),
            verbatim_names=address.choice("names", "verbatim") is not None,
            send_timeout=address.seconds("send_timeout", 30.0, 0.002, 2_147_483),
            linger=address.seconds("linger", 0.0, 0.0, 900),
            prefetch_bytes=address.integer("prefetch_bytes", 1024, 2_097_151 * 1024) or 16 * 1024 * 1024,
            security=Security.parse(given, rdkafka),
            rdkafka=rdkafka,
        )
        if settings.linger >= settings.send_timeout:
            raise ValueError(
                f"linger={settings.linger:g} in the kafka URL must be less than send_timeout={settings.send_timeout:g}"
            )
        return settings

    def check(self) -> None:
        """Have librdkafka judge the settings, without a connection; `ValueError` for those that it cannot use."""
        if self == KafkaSettings(self.bootstrap):
            return
        from confluent_kafka import Consumer, KafkaException, Producer  # noqa: PLC0415 (settings can do without)

        try:
            Producer(_unconnected(self.producer()))
            Consumer(_unconnected(self.consumer("visionbus", 45.0))).close()
        except KafkaException as error:
            raise ValueError(f"librdkafka does not take what the kafka URL says: {error.args[0].str()}") from None
        except (AttributeError, TypeError, ValueError) as error:  # as the client library says it
            raise ValueError(f"confluent-kafka does not take what the kafka URL says: {error}") from None

    def client(self) -> dict[str, Any]:
        """Return the configuration of an admin client, which those of producer and consumer contain.

        With it librdkafka's log lines come to Python's logging, when the client is polled. Do not keep it: it holds the
        secrets as they are now. `AccessError` if one cannot be read any more. Where it has an `oauth_cb`, making a
        client blocks for a second.
        """
        shared = {
            "bootstrap.servers": self.bootstrap,
            "client.id": "visionbus",
            "allow.auto.create.topics": False,
            "enable.metrics.push": False,
            "logger": ClientLog(),
            # Half of it passes before the first connection, too. While all brokers are away, librdkafka never waits
            # longer than this: each client makes 20 connections a second then.
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1000,  # 10 s by default: long for a broker that restarts
            "socket.connection.setup.timeout.ms": 10_000,  # 30 s by default: as long as a send may take in all
            # 5 min by default: how long a member of a classic group would not know of new partitions, or that its topic
            # is deleted
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        further = {
            name: value for name, value in self.rdkafka.items() if not name.startswith((*_CONSUMERS, *_PRODUCERS))
        }
        return shared | self.security.client() | further

    def producer(self) -> dict[str, Any]:
        """Return the configuration of a producer: idempotent, keys on the partitions where Java's client puts them."""
        own = {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "message.max.bytes": 1_000_000_000,  # the broker's limit decides
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 65_536,
            "delivery.timeout.ms": round(self.send_timeout * 1000),
            "linger.ms": (self.linger or TOGETHER) * 1000,
        }
        return own | self.client() | self._further(_PRODUCERS)

    def consumer(self, group: str, session_timeout: float) -> dict[str, Any]:
        """Return the configuration of a consumer in a group.

        `session_timeout` (seconds) applies to the classic protocol; in KIP-848 it is the group's, on the broker, and
        librdkafka refuses it.
        """
        own: dict[str, Any] = {
            "group.id": group,
            "group.protocol": self.group_protocol,
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "max.poll.interval.ms": round(max(300.0, 2 * session_timeout) * 1000),  # of our thread, not of handlers
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 20,  # 1 s by default: how long a receiver that drained its queue may starve
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": self.prefetch_bytes // 1024,
        }
        if self.group_protocol == "classic":
            own |= {
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": round(session_timeout * 1000),
                "heartbeat.interval.ms": round(heartbeat_interval(session_timeout) * 1000),
            }
        return own | self.client() | self._further(_CONSUMERS)

    def _further(self, kind: tuple[str, ...]) -> dict[str, str]:
        return {name: value for name, value in self.rdkafka.items() if name.startswith(kind)}


def _unconnected(configuration: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in configuration.items() if name not in ("bootstrap.servers", "oauth_cb")}


def _allowed(setting: str) -> str:
    """Return the name of a librdkafka setting that a URL may set; `ValueError` for others."""
    parameter = f"{PREFIX}{setting}"
    if not re.fullmatch(r"[a-z0-9._]+", setting) or _NO_SETTING.search(setting):
        raise ValueError(f"{parameter!r} in the kafka URL names no librdkafka setting: they are lower case with dots")
    if _SECRET.search(setting):
        cure = SECRETS.get(setting.replace(".", "_"), "keep it in a file, where librdkafka has a setting for that")
        raise ValueError(f"{parameter} would put a secret into the kafka URL: {cure}")
    if setting in _HAVE_PARAMETERS:
        raise ValueError(f"{parameter} in the kafka URL has a name of its own: write {_HAVE_PARAMETERS[setting]}=")
    if setting in _DEPENDED_ON:
        raise ValueError(f"{parameter} in the kafka URL: the bus depends on its own value for this, remove it")
    if setting in _RUNS_CODE:
        raise ValueError(f"{parameter} in the kafka URL would run foreign code: a URL may not do that, remove it")
    return setting


def _bootstrap(address: Address) -> str:
    servers = address.host.split(",")
    found = [_SERVER.fullmatch(server) for server in servers]
    if not all(one and int((one[2] or ":9092")[1:]) in _PORTS for one in found):
        # The host is not repeated: what stands before the / of a misplaced password is taken for one.
        raise ValueError("the kafka URL names no servers: write kafka://host:9092 or kafka://host:9092,host2:9092")
    if address.path.strip("/"):
        raise ValueError("a kafka URL has no path: topics are named in the calls, parameters stand behind a ?")
    return ",".join(servers)
