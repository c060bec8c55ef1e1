"""What a figure was measured on; every benchmark prints this first."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path


def describe(*packages: str) -> str:
    """Machine, Python, package versions and the command line, in a few lines."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"machine: {model}, {cores} cores, {memory_gb:.0f} GiB, {platform.system()} {platform.machine()}\n"
        f"versions: Python {platform.python_version()}, {versions}\n"
        f"command: python3 -m {_module()} {' '.join(sys.argv[1:])}".rstrip()
    )


def _module() -> str:
    main = sys.modules["__main__"]
    return main.__spec__.name if main.__spec__ else Path(sys.argv[0]).name
