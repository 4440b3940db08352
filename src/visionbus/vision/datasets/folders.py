"""Lists a folder with one subfolder of images per class, alone or under train, validation and test."""

import os
from collections.abc import Iterator
from pathlib import Path

from visionbus.vision.datasets.listing import PART_NAMES, File, Listing, Part, Skipped
from visionbus.vision.datasets.paths import TABLES, forget_folders, is_litter, is_stray, objection
from visionbus.vision.errors import DatasetError


def list_folder(folder: Path, *, links_out: bool = False) -> Listing:
    """List the images of a folder; deeper folders belong to the class above them.

    Hidden files and folders, what operating systems leave, and text files are passed over. Links to folders are not
    followed, which is noted, and so loops of them end.

    Args:
        folder: the folder with a subfolder per class, or with `train` and further splits that hold these.
        links_out: whether links may lead to files outside of `folder`.

    Raises:
        DatasetError: if there is no class.
    """
    forget_folders()
    root = Path(os.path.realpath(folder))
    parts = _parts(folder)
    files: list[File] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for top, part in parts or [(folder, "train")]:
        for path in _walk(top, notes, skipped, folder):
            name = str(path.relative_to(folder))
            reason = objection(path, root, links_out=links_out)
            if reason is None:
                files.append(File(path, name, path.relative_to(top).parts[0], part))
            else:
                skipped.append(Skipped(name, reason))
    if not files:
        raise DatasetError(_no_class(folder, skipped))
    if parts:
        unread = [name for name in _folders(folder) if name not in {top.name for top, _ in parts}]
        why = {name: "has no folder per class" if _part(name) else "is no split" for name in unread}
        notes += [f"{name} {reason}, so it is not read" for name, reason in why.items()]
        layout = "splits " + ", ".join(sorted({top.name for top, _ in parts})) + " with a folder per class"
    else:
        layout = "a folder per class"
    return Listing(folder, layout, tuple(files), tuple(skipped), tuple(notes))


def _part(name: str) -> Part | None:
    return PART_NAMES.get(name.lower())


def _parts(folder: Path) -> list[tuple[Path, Part]]:
    """Return the folders of the splits, if this is how the folder is laid out; a class may be called `train`, too."""
    inner = _folders(folder)
    found = [(folder / name, part) for name in inner if (part := _part(name)) and _folders(folder / name)]
    several = len({part for _, part in found}) > 1
    return found if found and (several or all(_part(name) for name in inner)) else []


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not is_litter(entry.name)
        )


def _walk(top: Path, notes: list[str], skipped: list[Skipped], folder: Path) -> Iterator[Path]:
    """Yield the files below the subfolders of `top`, sorted."""

    def unreadable(error: OSError) -> None:
        name = str(Path(error.filename).relative_to(folder))
        skipped.append(Skipped(name, f"the folder cannot be read: {error.strerror}"))

    for place, inner, names in os.walk(top, onerror=unreadable):
        here = Path(place)
        kept = sorted(name for name in inner if not is_litter(name))
        links = [name for name in kept if (here / name).is_symlink()]
        notes += [f"{(here / name).relative_to(folder)} is a link to a folder, which is not followed" for name in links]
        inner[:] = [name for name in kept if name not in links]
        found = [name for name in sorted(names) if not is_litter(name) and not is_stray(name)]
        if here != top:
            yield from (here / name for name in found)
        if here.parent == top and not found and not inner:
            notes.append(f"{here.relative_to(folder)} has no images, so it is no class")
        if here == top and found:
            notes.append(f"{len(found)} files beside the folders of the classes are not read, such as {found[0]}")


def _no_class(folder: Path, skipped: list[Skipped]) -> str:
    if skipped:
        return f"none of the {len(skipped)} files in {folder} can be used; {skipped[0].name}: {skipped[0].reason}"
    tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in TABLES)
    hint = f"; or, if {tables[0]} names the images, name {folder / tables[0]}" if tables else ""
    return f"{folder} has no subfolders with images: make one subfolder per class{hint}"
