"""Replaces a file atomically: readers see the old file or the complete new one, even if the writer crashes."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it replaces `path` when the block succeeds and is removed when it raises.

    Two processes may do this at once: the last one wins.

    Raises:
        OSError: if the folder is not writable.
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
    """Return the umask of the process; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
