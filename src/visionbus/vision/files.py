"""Reads files that may be anything, and replaces files atomically."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one; a pipe would block and a device may never end.

    Raises:
        OSError: if it is another kind of file, or cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: that alone blocks for a pipe
        raise OSError(errno.EINVAL, "not a regular file: copy its content into one", str(path))
    return path.open("rb")


def read_limited(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        OSError: if it is longer, is another kind of file, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= limit else b""
        if len(content) > size:  # it grows meanwhile, or does not tell its size, as in /proc
            content += file.read(limit + 1 - len(content))
    size = max(size, len(content))
    if size > limit:
        raise OSError(errno.EFBIG, f"the file has {size} bytes, more than {limit}: use a smaller one", str(path))
    return content


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it replaces `path` when the block succeeds and is removed when it raises.

    Readers see the old file or the complete new one, even if the writer crashes. Two processes may do this at once: the
    last one wins.

    Raises:
        OSError: if the folder is not writable, or the disk is full; it names `path`.
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
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # as of a disk that fills while it is written
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the umask of the process; the only way to read it is to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
