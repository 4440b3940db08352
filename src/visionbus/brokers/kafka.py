"""A real Apache Kafka on this machine's loopback, for development and tests."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from visionbus.brokers.errors import StartError
from visionbus.brokers.jars import kafka_jars
from visionbus.brokers.java import find_java
from visionbus.brokers.metadata import known_brokers
from visionbus.brokers.node import Node
from visionbus.brokers.ports import HOST, free_ports, preferred_port, start_on_free_ports
from visionbus.brokers.properties import Ports, cluster_properties, node_properties
from visionbus.brokers.storage import Storage, claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType

    from visionbus.brokers.security import Security

PATIENCE = 90.0  # seconds that nodes get to be ready
_PAUSE = 0.05  # seconds between two questions to a broker that is starting
_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")  # small, and quick to start


class KafkaCluster:
    """A cluster of Apache Kafka (KRaft) on 127.0.0.1, to be used in `with`; nodes are counted from 1.

    `nodes`: each is a broker and a controller; from three on, messages have three copies and two confirm them.
    `data`: a folder that keeps the data and is used again; by default a temporary one. `port`: of the first node; by
    default `usual`, if that is given and free, or a free one, as for all others. `properties`: Kafka's, over ours;
    `QUICK` is for tests. `report` is told what takes time.

    All its processes end with the block, and (on Linux) with this process, however it dies.
    """

    def __init__(
        self,
        nodes: int = 1,
        data: Path | str | None = None,
        *,
        port: int | None = None,
        usual: int | None = None,
        properties: Mapping[str, str] | None = None,
        security: Security | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"a cluster has one node or more, not {nodes}")
        self.numbers = range(1, nodes + 1)
        self._data = None if data is None else Path(data)
        self._port = port
        self._usual = usual
        self._properties = dict(properties or {})
        self._security = security
        self._report = report
        self._ports: list[Ports] = []
        self._nodes: dict[int, Node] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Start all nodes and wait until each knows of all.

        Raises:
            InstallError: if Java or Kafka's jars are missing and cannot be fetched.
            DataError: if the folder cannot be used.
            StartError: if Kafka does not start; `PortError` if the port that was asked for is taken.
        """
        with ExitStack() as opening:
            java = find_java()
            jars = kafka_jars(java, self._report)
            storage = opening.enter_context(claimed(self._data, len(self.numbers)))
            starter = opening.enter_context(ThreadPoolExecutor(1, "kafka-starter"))  # its thread's end ends the nodes
            opening.callback(self._end, keep=self._data is not None)
            self._report(f"starting Apache Kafka, {len(self.numbers)} node{'s'[: len(self.numbers) > 1]}")
            heap = "-Xmx512m" if len(self.numbers) == 1 else "-Xmx384m"
            for number in self.numbers:
                folder = storage.folder / f"node-{number}"
                logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
                command = (str(java), heap, *_FLAGS, logging, "-cp", f"{jars}/*")
                self._nodes[number] = Node(number, folder, command, starter)
            start_on_free_ports(lambda: self._start_all(storage), lambda: self._end(keep=False))
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all nodes: by SIGTERM if their data is kept, else at once."""
        self._closing.close()

    @property
    def bootstrap(self) -> str:
        """The plain listeners, as clients want them: `127.0.0.1:9092,127.0.0.1:9093`."""
        return _addresses(ports.plain for ports in self._ports)

    @property
    def sasl_bootstrap(self) -> str:
        """The listeners with SASL over TLS, which are there with `security`."""
        return _addresses(ports.sasl for ports in self._ports)

    @property
    def mutual_bootstrap(self) -> str:
        """The listeners with mutual TLS, which are there with `security`."""
        return _addresses(ports.mutual for ports in self._ports)

    @property
    def url(self) -> str:
        """The URL of the bus: `kafka://127.0.0.1:9092`."""
        return f"kafka://{self.bootstrap}"

    def start(self, number: int, *, wait: bool = True) -> None:
        """Start a node that was ended, on its ports and data; if asked, wait until it serves.

        Raises:
            StartError: if it does not start.
        """
        self._nodes[number].start()
        if wait:
            self._wait_for([number], {number})

    def kill(self, number: int) -> None:
        """End a node by SIGKILL, as a crash would."""
        self._nodes[number].kill()

    def stop(self, number: int) -> None:
        """End a node by SIGTERM, as an operator would: it hands its partitions to others."""
        self._nodes[number].stop()

    def freeze(self, number: int) -> None:
        """Stop a node by SIGSTOP: its connections stay, and nothing comes from it."""
        self._nodes[number].signal(signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """Let a frozen node go on."""
        self._nodes[number].signal(signal.SIGCONT)

    def logs(self, number: int) -> str:
        """Return all that a node has printed."""
        return self._nodes[number].log

    def check(self) -> None:
        """Raise `StartError` if a node has ended by itself."""
        for node in self._nodes.values():
            node.check()

    def _start_all(self, storage: Storage) -> None:
        self._ports = self._choose_ports()
        self._configure()
        with ThreadPoolExecutor(len(self.numbers)) as pool:
            list(pool.map(lambda node: node.format(storage.cluster, self._scram()), self._nodes.values()))
        for node in self._nodes.values():
            node.start()
        self._wait_for(self.numbers, set(self.numbers))

    def _choose_ports(self) -> list[Ports]:
        free = free_ports(4 * len(self.numbers))
        free[0] = preferred_port(self._port, self._usual, self._report) or free[0]
        return [Ports(*free[at : at + 4]) for at in range(0, len(free), 4)]

    def _configure(self) -> None:
        security = self._security
        for number, node in self._nodes.items():
            properties = cluster_properties(len(self.numbers))
            properties |= node_properties(number, self._ports, str(node.storage), secured=security is not None)
            properties |= security.properties(node.keystore) if security else {}
            node.configure(properties | self._properties, security.pem() if security else "")

    def _scram(self) -> list[str]:
        return self._security.scram_arguments() if self._security else []

    def _wait_for(self, numbers: Collection[int], known: set[int]) -> None:
        """Wait until each of these nodes knows that those brokers live."""
        deadline = time.monotonic() + PATIENCE
        for number in numbers:
            while not known_brokers(self._ports[number - 1].plain) >= known:
                self.check()
                if time.monotonic() > deadline:
                    raise StartError(
                        f"Kafka is not ready after {PATIENCE:g} s; node {number} says: {self._tail(number)}"
                    )
                time.sleep(_PAUSE)  # nothing tells us when it is

    def _tail(self, number: int) -> str:
        return self.logs(number)[-1000:]

    def _end(self, *, keep: bool) -> None:
        """End all nodes; if their data is to be kept, all at once are asked to."""
        for node in self._nodes.values():
            node.signal(signal.SIGTERM if keep else signal.SIGKILL)
        for node in self._nodes.values():
            node.stop() if keep else node.kill()


def _addresses(ports: Iterable[int]) -> str:
    return ",".join(f"{HOST}:{port}" for port in ports)
