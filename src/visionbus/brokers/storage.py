"""The folder that holds a cluster's data: whose it is, and for how many nodes."""

from __future__ import annotations

import base64
import json
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.brokers.errors import DataError
from visionbus.locks import claim

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLUSTER = "cluster.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder for a cluster's data, and the cluster's id: 22 characters, a UUID in Base64."""

    folder: Path
    cluster: str


@contextmanager
def claimed(data: Path | None, nodes: int) -> Iterator[Storage]:
    """Have a folder for this process alone: `data`, made if missing; or, for None, a temporary one, removed at the end.

    Raises:
        DataError: if another process uses it, or it holds something else, or a cluster of another number of nodes.
    """
    if data is None:
        with tempfile.TemporaryDirectory(prefix="visionbus-kafka-", ignore_cleanup_errors=True) as name:
            yield Storage(Path(name), _new_id())
        return
    folder = data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    known = {_CLUSTER, f"{_CLUSTER}.part", _LOCK}
    if not (folder / _CLUSTER).exists() and (others := {one.name for one in folder.iterdir()} - known):
        raise DataError(f"{data} holds no cluster but {min(others)!r}: name an empty folder, or one that is not there")
    with (folder / _LOCK).open("w") as lock:
        if not claim(lock):
            raise DataError(f"another process has a cluster running on {data}: name another folder")
        yield Storage(folder, _cluster_id(folder, nodes))


def _cluster_id(folder: Path, nodes: int) -> str:
    path = folder / _CLUSTER
    if not path.exists():
        part = path.with_name(f"{_CLUSTER}.part")
        part.write_text(json.dumps({"cluster": _new_id(), "nodes": nodes}), encoding="ascii")
        part.replace(path)
    try:
        found = json.loads(path.read_bytes())
        cluster, there = str(found["cluster"]), int(found["nodes"])
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error!r}): name another folder, or remove this one") from error
    if there != nodes:
        raise DataError(
            f"{folder} holds a cluster with another number of nodes, {there}, than {nodes}: ask for as many, "
            "or name another folder"
        )
    return cluster


def _new_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
