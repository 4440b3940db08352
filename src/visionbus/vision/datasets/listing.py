"""What a source of image files holds before anything is decoded: each file's label and split."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

#: What people call the splits, in lower case.
PART_NAMES: MappingProxyType[str, Part] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "validation": "validation",
        "val": "validation",
        "valid": "validation",
        "dev": "validation",
        "test": "test",
        "testing": "test",
        "t10k": "test",
    }
)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used.

    Attributes:
        name: its path, relative to the data; or its place in a stream.
        reason: why it could not be used.
    """

    name: str
    reason: str


def in_row(row: int, name: str) -> str:
    """Return what to call what stands in a row of a table."""
    return f"row {row}: {name}"


@dataclass(frozen=True)
class File:
    """A file that may be an image.

    Attributes:
        path: where it is.
        name: what to call it: its path relative to the data.
        label: the name of its class.
        part: the split that it belongs to.
        row: the number of the table's row that names it; 0 in a folder.
    """

    path: Path
    name: str
    label: str
    part: Part = "train"
    row: int = 0

    def broken(self, reason: str) -> Skipped:
        """Return what is told of it where it cannot be used."""
        return Skipped(in_row(self.row, self.name) if self.row else self.name, reason)


@dataclass(frozen=True)
class Listing:
    """The files of a source.

    Attributes:
        source: the folder or table.
        layout: what was recognised, in words.
        files: in the order of their names.
        skipped: what was named as an image and cannot be one.
        notes: what else there is to say, a sentence each.
    """

    source: Path
    layout: str
    files: tuple[File, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether a table names the files."""
        return not self.source.is_dir()

    @property
    def name(self) -> str:
        """What the data is called."""
        return self.source.stem if self.is_table else self.source.resolve().name
