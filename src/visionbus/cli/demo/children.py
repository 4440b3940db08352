"""The processes of the demo: started, listened to, and all ended with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from visionbus.cli.errors import Failure

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Collection
    from pathlib import Path
    from types import TracebackType

GRACE = 15.0  # seconds that a process gets to finish


class Child:
    """One process; `listening` ends when it has ended and all that it said was heard."""

    def __init__(self, name: str, process: Process, log: Path, hear: Callable[[str], None]) -> None:
        self.name = name
        self.process = process
        self.last_line = ""
        self.listening = asyncio.create_task(self._listen(log, hear))

    async def _listen(self, log: Path, hear: Callable[[str], None]) -> int:
        """Hear both outputs, each by whole lines, to their ends."""
        with log.open("wb") as file:

            async def listen(stream: asyncio.StreamReader | None) -> None:
                while stream and (line := await stream.readline()):
                    file.write(line)
                    file.flush()
                    text = line.decode(errors="replace").rstrip("\n")
                    self.last_line = text or self.last_line
                    hear(text)

            await asyncio.gather(listen(self.process.stdout), listen(self.process.stderr))
        return await self.process.wait()

    async def finished(self) -> None:
        """Wait for its end; raise what it said last where it failed."""
        if status := await asyncio.shield(self.listening):
            raise self.failure(status)

    def failure(self, status: int) -> Failure:
        """Say that it ended when it should not have."""
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = self.last_line.removeprefix("visionbus: error: ")
        return Failure(f"the process {self.name!r} {how}{f', saying: {said}' if said else ''}")

    def end(self) -> None:
        """Ask it to finish."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it, and what it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Children:
    """Processes that end with this block; each leads a process group, so that Ctrl-C is for the demo to handle."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(
        self,
        name: str,
        module: str,
        *arguments: str,
        hear: Callable[[str], None] = lambda _: None,
        descriptors: Collection[int] = (),
    ) -> Child:
        """Start `python -m module arguments`; `hear` is told each line that it prints. It inherits the descriptors."""
        command = (sys.executable, "-m", "visionbus.cli.demo.child", str(os.getpid()), module, *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, process_group=0, pass_fds=tuple(descriptors)
        )
        child = Child(name, process, self._logs / f"{name}.log", hear)
        self._children.append(child)
        return child

    async def fail_with(self, *services: Child) -> None:
        """Wait for ever; raise when a process that should go on has ended."""
        await asyncio.wait([one.listening for one in services], return_when=asyncio.FIRST_COMPLETED)
        ended = next(one for one in services if one.listening.done())
        raise ended.failure(ended.listening.result())

    async def stop(self) -> None:
        """End all: asked first, then forced."""
        running = [one for one in self._children if not one.listening.done()]
        for one in running:
            one.end()
        if running:
            _, stuck = await asyncio.wait([one.listening for one in running], timeout=GRACE)
            if stuck:
                for one in running:
                    one.kill()
            await asyncio.gather(*(one.listening for one in running))
        self._children.clear()
