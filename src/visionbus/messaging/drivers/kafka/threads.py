"""Threads for calls that block, apart from the event loop's own, which programs may fill with work of theirs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Call this in a thread of its own, and return what it returns."""
    executor = ThreadPoolExecutor(1, "kafka-call")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
    finally:
        executor.shutdown(wait=False)
