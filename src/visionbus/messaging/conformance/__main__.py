"""Prints which tests back which promise, as `docs/promises.md` has it: `python -m visionbus.messaging.conformance`."""

from visionbus.messaging.conformance.promises import listing

print(listing(), end="")  # noqa: T201 (that is what it is for)
