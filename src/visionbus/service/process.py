"""One worker process, as its supervisor starts it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from visionbus.lifetime import end_with
from visionbus.messaging import connect
from visionbus.service.record import Record
from visionbus.service.watch import Supervised
from visionbus.service.worker import serve

if TYPE_CHECKING:
    from visionbus.service.classifier import ServedModel

STOPPED = 0
FAILED = 1


@dataclass(frozen=True, slots=True)
class Specification:
    """What a worker process is to serve.

    `bus`: a URL. `model`: the path of a model file, or, with `code`, `module:function` that makes a model (tests).
    `ack_deadline` in seconds; `batch`: the most images taken at a time.
    """

    bus: str
    model: str
    topic: str = "visionbus"
    ack_deadline: float = 10.0
    batch: int = 256
    code: bool = False

    def load_model(self) -> ServedModel:
        """Load the model; `ModelError` where the file will not do."""
        if self.code:
            module, _, function = self.model.partition(":")
            made: ServedModel = getattr(import_module(module), function)()
            return made
        from visionbus.vision.onnx import OnnxModel  # noqa: PLC0415 (a test's model needs no ONNX Runtime)

        return OnnxModel(Path(self.model))


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a worker has from its supervisor: descriptors of shared records, and the supervisor's process id.

    Its standard input is a pipe that closes when the supervisor ends, its standard output one that it listens to.
    """

    in_process: int
    verdicts: int
    parent: int


def arguments(specification: Specification, inheritance: Inheritance) -> list[str]:
    """Return the command line of a worker process."""
    words = json.dumps([asdict(specification), asdict(inheritance)])
    program = "from visionbus.service.process import main; main()"
    return [sys.executable, "-P", "-c", program, words]  # -P: nothing is imported from the folder that we are in


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 0 when drained. Ends with its supervisor, however that one dies."""
    specification, inheritance = json.loads(sys.argv[1])
    inherited = Inheritance(**inheritance)
    end_with(inherited.parent)
    logging.basicConfig(format=f"visionbus: worker {os.getpid()}: %(levelname)s: %(message)s")
    logging.getLogger("stamina").setLevel(logging.ERROR)  # we say it in our own words
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not meant for the supervisor
    watch = Supervised(Record(inherited.in_process), Record(inherited.verdicts), pipe)
    try:
        asyncio.run(_serve(Specification(**specification), watch))
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        logging.getLogger(__name__).debug("worker ends", exc_info=error)
        watch.tell("error", str(error) or type(error).__name__)
        os._exit(FAILED)  # a thread may hang in native code
    os._exit(STOPPED)


async def _serve(specification: Specification, watch: Supervised) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})  # blocked since before we began
    model = specification.load_model()
    async with connect(specification.bus) as bus:
        await serve(
            bus,
            model,
            topic=specification.topic,
            ack_deadline=specification.ack_deadline,
            batch=specification.batch,
            stop=stop,
            watch=watch,
        )
