"""How far a demo has come: bars on a terminal, a line a second elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import Console

STAGES = ("published", "classified", "stored")


@dataclass(slots=True)
class Counts:
    """Images that have come so far, of `total`."""

    total: int
    published: int = 0
    classified: int = 0
    stored: int = 0

    @property
    def all_stages(self) -> tuple[int, int, int]:
        """The three counts, in the order of `STAGES`."""
        return self.published, self.classified, self.stored


class _Rate(ProgressColumn):
    """Images a second over the last few seconds; over all once it is finished."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:>8,.0f} images/s" if speed else "", style="progress.data.speed")


@asynccontextmanager
async def shown(counts: Counts, console: Console, *, quiet: bool) -> AsyncIterator[None]:
    """Show the counts while the block runs."""
    if quiet:
        yield
        return
    showing = asyncio.create_task(_bars(counts, console) if console.is_terminal else _lines(counts))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _bars(counts: Counts, console: Console) -> None:
    columns = (TextColumn("{task.description:<10}"), BarColumn(40), MofNCompleteColumn(), _Rate())
    with Progress(*columns, console=console) as progress:
        tasks = [progress.add_task(stage, total=counts.total) for stage in STAGES]

        def update() -> None:
            for task, value in zip(tasks, counts.all_stages, strict=True):
                progress.update(task, completed=value)

        try:
            while True:
                update()
                await asyncio.sleep(0.1)
        finally:
            update()


async def _lines(counts: Counts) -> None:
    stored = 0

    def say() -> None:
        nonlocal stored
        facts = " ".join(f"{stage} {value}" for stage, value in zip(STAGES, counts.all_stages, strict=True))
        click.echo(f"{facts} images/s {counts.stored - stored}")
        stored = counts.stored

    try:
        while True:
            await asyncio.sleep(1.0)
            if any(counts.all_stages):  # until then, processes start
                say()
    finally:
        say()
