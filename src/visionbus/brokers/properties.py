"""The configuration of Kafka's nodes, as the files that they read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from visionbus.brokers.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: For tests: leases, group sessions and the cluster's own failure detection in seconds rather than minutes. A broker
#: as it comes refuses a classic session below 6 s, a KIP-848 session below 45 s, and a share lock below 15 s.
QUICK: Mapping[str, str] = MappingProxyType(
    {
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "group.consumer.heartbeat.interval.ms": "500",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "6000",
        "group.min.session.timeout.ms": "1000",
        "group.share.heartbeat.interval.ms": "500",
        "group.share.min.heartbeat.interval.ms": "100",
        "group.share.min.record.lock.duration.ms": "1000",
        "group.share.min.session.timeout.ms": "1000",
    }
)

LOGGING = """<Configuration status="error"><Appenders><Console name="out">
<PatternLayout pattern="%d{ISO8601} %p %m (%c{1})%n%throwable"/>
</Console></Appenders><Loggers><Root level="info"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """The TCP ports of one node; the last two are used by clients if there is security."""

    plain: int
    controller: int
    sasl: int
    mutual: int


def node_properties(number: int, ports: Sequence[Ports], folder: str, *, secured: bool) -> dict[str, str]:
    """Give the properties of the node of this number, counted from 1, of a cluster with these ports."""
    own = ports[number - 1]
    clients = {"PLAINTEXT": own.plain} | ({"SASL": own.sasl, "MUTUAL": own.mutual} if secured else {})
    protocols = {"SASL": "SASL_SSL", "MUTUAL": "SSL"}
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{one}@{HOST}:{of.controller}" for one, of in enumerate(ports, 1)),
        "listeners": _listeners(clients | {"CONTROLLER": own.controller}),
        "advertised.listeners": _listeners(clients),
        "listener.security.protocol.map": ",".join(
            f"{name}:{protocols.get(name, 'PLAINTEXT')}" for name in (*clients, "CONTROLLER")
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": folder,
    }


def cluster_properties(nodes: int) -> dict[str, str]:
    """Give what all nodes share: up to three copies, and two before a message is confirmed where there are three."""
    copies, in_sync, partitions = str(min(nodes, 3)), str(2 if nodes > 2 else 1), "4"
    properties = {
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "group.initial.rebalance.delay.ms": "0",
        "min.insync.replicas": in_sync,
        "num.partitions": partitions,
    }
    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        properties |= {f"{topic}.replication.factor": copies, f"{topic}.num.partitions": partitions}
    for topic in ("transaction.state.log", "share.coordinator.state.topic"):
        properties[f"{topic}.min.isr"] = in_sync
    return properties


def as_file(properties: Mapping[str, str]) -> str:
    """Write properties as Java reads them; its escapes of a value are those of JSON."""
    return "".join(f"{name}={json.dumps(value)[1:-1]}\n" for name, value in properties.items())


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
