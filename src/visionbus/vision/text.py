"""Makes any text fit to be shown: names of files and classes may hold anything."""

_JOINERS = "\u200c\u200d"  # of letters and emoji: not printable by themselves, and part of what people write
_LONGEST = 60


def plain(text: str) -> str:
    r"""Return `text` with escapes (`\n`) for what cannot be seen, such as newlines and marks of direction."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in _JOINERS else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shortened(text: str) -> str:
    """Return `text`, of a long one the beginning and the end."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 + 1 :]}"


def percent(share: float) -> str:
    """Return a share, 0 to 1, as a percentage with one decimal; all and nothing are said of these alone."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def count(number: int, what: str, many: str = "") -> str:
    """Return a number with what it counts, as in `1 image` and `2,000 images`."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def size(number: int) -> str:
    """Return a number of bytes, as in `1.16 MB`."""
    return f"{number / 1e6:.2f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"
