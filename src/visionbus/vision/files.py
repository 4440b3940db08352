"""Writes a file in one step: readers see the old one or the whole new one, whatever happens meanwhile."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; moved there when the block ends well, removed when it does not.

    Two processes may do so at once: the last one wins.

    Raises:
        OSError: when the folder cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:  # name the file that the caller knows
        raise OSError(error.errno, error.strerror, str(path)) from error
    temporary = Path(name)
    try:
        yield temporary
        os.fsync(handle)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Read the process's mask; there is no way but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
