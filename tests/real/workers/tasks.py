"""Tasks that do harm to the process they run in."""

import ctypes
import os
import signal
import time
from pathlib import Path


def environment(_: object) -> dict[str, str]:
    return dict(os.environ)


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def poison(number: int) -> int:
    """Kill the child at every multiple of 5, each time in another way."""
    if number % 5 == 0:
        match number % 20:
            case 0:
                os.kill(os.getpid(), signal.SIGKILL)
            case 5:
                os._exit(0)
            case 10:
                ctypes.string_at(0)
            case _:
                os.abort()
    return number


def poison_alone(item: int) -> int:
    """Kill the child that takes item 0, as soon as it does."""
    if item == 0:
        os._exit(7)
    return item


def die_the_first_time(item: tuple[str, str]) -> float:
    """Kill the child when "victim" is run for the first time; return nothing special otherwise.

    Each run that ends leaves a line with its name, begin and end.
    """
    folder, name = Path(item[0]), item[1]
    begin = time.monotonic()
    if name == "victim" and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    with (folder / "runs").open("a") as runs:
        runs.write(f"{name} {begin} {time.monotonic()}\n")
    return begin


def hold(item: tuple[str, str]) -> str:
    """Say that this item runs in a file, and wait until there is a file `release`."""
    folder, name = Path(item[0]), item[1]
    with (folder / f"{name}.runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")
    end = time.monotonic() + 120
    while not (folder / "release").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return name


def keep(size: int) -> int:
    """Hold this many bytes more from now on; return the pid."""
    kept.append(bytearray(b"x") * size)
    return os.getpid()


kept: list[bytearray] = []


def grow_at_zero(item: tuple[str, int]) -> int:
    """Take 8 MB more every hundredth of a second at number 0, up to 1 GB; say in a file that it began.

    What it has taken is held until somebody must have seen it, on a busy machine too.
    """
    folder, number = item
    if number == 0:
        with (Path(folder) / "grows").open("a") as runs:
            runs.write(f"{os.getpid()}\n")
        taken = []
        for _ in range(125):
            taken.append(bytearray(b"x") * 8_000_000)
            time.sleep(0.01)
        time.sleep(20)
    return number


def stop_at_zero(number: int) -> int:
    if number == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    return number


def hang_at_zero(number: int) -> int:
    if number == 0:
        time.sleep(3600)
    return number
