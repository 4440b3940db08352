"""Files that one process has for itself."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


def claim(file: FileDescriptorLike) -> bool:
    """Lock an open file until it is closed, or the process has ended, however it ends; return whether that succeeded.

    It fails if another process has it. Where a file system has no locks nobody is kept out.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
