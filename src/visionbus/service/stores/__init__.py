"""Where answers are kept: `open_store` finds the store for a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from visionbus.service.errors import StoreError, StoreUnavailableError
from visionbus.service.stores.console import ConsoleStore
from visionbus.service.stores.sqlite import SQLiteStore
from visionbus.service.stores.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConsoleStore", "SQLiteStore", "Store", "StoreError", "StoreUnavailableError", "open_store"]


def open_store(url: str) -> Store:
    """Return the store that a URL names, to be used in `async with`.

    `-` prints the answers; `sqlite:///relative.db`, `sqlite:////absolute.db`, or just a file's path, keeps them in a
    SQLite database. Raises `ValueError` for an unknown scheme, naming the known ones.
    """
    scheme, separator, rest = url.partition("://")
    if url == "-":
        return ConsoleStore()
    if not separator:
        return SQLiteStore(Path(url))
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(_SCHEMES))
        raise ValueError(
            f"unknown scheme {scheme!r} of the store {url!r}; known: {known}, a file's path, and - to print"
        )
    return _SCHEMES[scheme](rest)


def _sqlite(rest: str) -> Store:
    path = rest.removeprefix("/")
    if path == rest or not path or "?" in path:
        raise ValueError(f"'sqlite://{rest}' is not a store: write sqlite:///relative.db or sqlite:////absolute.db")
    return SQLiteStore(Path(unquote(path)))


_SCHEMES: dict[str, Callable[[str], Store]] = {"sqlite": _sqlite}
