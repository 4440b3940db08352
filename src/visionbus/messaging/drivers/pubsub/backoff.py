"""How long to wait before a call is tried again."""

from __future__ import annotations

import random

FIRST = 0.1  # seconds
LONGEST = 5.0  # seconds


def backoff(failures: int) -> float:
    """Return seconds to wait after so many failures in a row, from 1 on: any, below a limit that doubles (full jitter).

    So clients that failed together do not come back together, as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    return random.uniform(0.0, min(LONGEST, FIRST * 2.0 ** min(failures - 1, 20)))  # noqa: S311 (nothing secret)
