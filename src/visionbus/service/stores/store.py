"""What every store of answers does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from visionbus.service.wire import Answer


class Store(Protocol):
    """Keeps answers; used in `async with`. Entering raises `StoreError` for what will never do."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def add(self, answers: Sequence[Answer]) -> int:
        """Keep the answers, all or none, so that they survive this process; return how many of their ids were new.

        An id that is there already is passed over, whatever its answer. Raises `StoreUnavailableError` where trying
        again may help, `StoreError` or `OSError` where it does not; any other error is an answer's fault.
        """
