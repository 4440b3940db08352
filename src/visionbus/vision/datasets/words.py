"""How data is opened, as the options of the commands that open some."""

from visionbus.vision.datasets.checks import Checks
from visionbus.vision.datasets.tables import Columns


def option_words(columns: Columns, checks: Checks) -> list[str]:
    """Return the options of `visionbus data check`, `train` and `evaluate`, where they are not the default."""
    values = {
        "--path-column": columns.path,
        "--label-column": columns.label,
        "--split-column": columns.split,
        "--images": columns.folder,
        "--allow-broken": f"{checks.allow_broken:g}" if checks.allow_broken != Checks.allow_broken else None,
    }
    given = [word for flag, value in values.items() if value is not None for word in (flag, str(value))]
    return given + ["--keep-leaks"] * checks.keep_leaks + ["--outside"] * checks.outside
