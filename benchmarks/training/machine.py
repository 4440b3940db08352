"""Says on what was measured: processor, its flags that matter to training, cores; and which commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from training.kept import RESULTS

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")


def describe(cpuinfo: str, cores: int) -> str:
    """Describe a machine by its /proc/cpuinfo and the number of its cores that may be used."""
    name = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    known = [flag for flag in FLAGS if flags and flag in flags[1].split()]
    return f"{name[1] if name else platform.machine()}, {cores} cores, {' '.join(known) or 'no flags of note'}"


def this_machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return describe(cpuinfo.read_text() if cpuinfo.exists() else "", len(os.sched_getaffinity(0)))


def commit(folder: Path = Path(__file__).parent) -> str:
    """Return the commit that is checked out, empty where that cannot be known.

    It ends in -dirty where files of it have changed, but for the results: they do with each measurement.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude,top)*{RESULTS.name}")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
