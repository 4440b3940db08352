"""`sqlite://`: the embedded default, one file for many processes on one machine; a folder because it has three layers.

`driver` speaks asyncio and knows no SQL, `writer` is the thread between, `store` is all of the SQL and knows no thread.
"""

from visionbus.messaging.drivers.sqlite.driver import SQLiteDriver

__all__ = ["SQLiteDriver"]
