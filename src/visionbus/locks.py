"""Files that one process has for itself."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


def claim(file: FileDescriptorLike) -> bool:
    """Lock an open file until it is closed, or the process has ended, however it ends; return whether that succeeded.

    It does not where another process has it.

    Raises:
        OSError: if the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
