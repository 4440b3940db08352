"""Names the processor of this machine."""

import os
import platform
from pathlib import Path

_EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # those that matter for the speed of a network


def processor() -> str:
    """Return the processor's name, how many cores there are, and those of its extensions that matter for speed."""
    description = Path("/proc/cpuinfo")
    lines = description.read_text(encoding="utf-8").splitlines() if description.exists() else []
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = entries.get("model name") or platform.processor() or platform.machine()
    extensions = [flag for flag in _EXTENSIONS if flag in entries.get("flags", "").split()]
    return f"{name}, {os.cpu_count()} cores" + (f", {' '.join(extensions)}" if extensions else "")
