"""What a model or a class may be called."""

from typing import TypeGuard


def is_name(value: object) -> TypeGuard[str]:
    """Return whether this is a text that can be sent and stored: not empty, and without half a surrogate pair."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
