"""Tells which files may be read as images: none from outside of the data, no pipes, no devices, no litter."""

import os
import stat
from functools import lru_cache
from pathlib import Path

_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
TABLES = (".csv", ".tsv", ".parquet")  # that may name images
_STRAY = {
    *TABLES,
    *(".txt", ".md", ".rst", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg"),
    *(".html", ".htm", ".log", ".pdf", ".py", ".ipynb", ".db", ".npz", ".npy", ".sha256", ".md5"),
}
_NOT_REGULAR = "not a regular file: copy its content into one"


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by an operating system."""
    return name.startswith(".") or name.lower() in _LITTER


def is_stray(name: str) -> bool:
    """Return whether a file is, by its name, text or metadata: neither an image nor a mistake."""
    return Path(name).suffix.lower() in _STRAY


def objection(path: Path, root: Path, *, links_out: bool) -> str | None:
    """Return why a file must not be read, or None: it is no regular file, or lies outside of `root` by a link or `..`.

    Args:
        path: the file.
        root: the folder that it must lie in, as `os.path.realpath` gives it.
        links_out: whether files outside of `root` may be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return _NOT_REGULAR
        if links_out or _is_within(path, root):
            return None
    except FileNotFoundError:
        return "the link leads nowhere: remove it" if path.is_symlink() else "there is no such file"
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return "it lies outside of the data's folder: copy it there, or allow such files with --outside"


def _is_within(path: Path, root: Path) -> bool:
    real = Path(os.path.realpath(path)) if path.is_symlink() else Path(_real_folder(str(path.parent)), path.name)
    return real.is_relative_to(root)


def forget_folders() -> None:
    """Look anew where folders really are, as before each listing: links may have come in their place."""
    _real_folder.cache_clear()


@lru_cache(maxsize=1024)
def _real_folder(path: str) -> str:
    return os.path.realpath(path)
