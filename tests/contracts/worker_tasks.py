"""Tasks that pools run in tests; imported by child processes, so it imports little."""

import os
import time

from facesearch.errors import BrokenImage, FacesearchError, TooLarge


def double(number: int) -> int:
    return 2 * number


def sleep_then_echo(item: tuple[float, int]) -> int:
    time.sleep(item[0])
    return item[1]


def length_and_echo(data: bytes) -> tuple[int, bytes]:
    return len(data), data


def refuse_odd(number: int) -> int:
    if number % 2:
        raise TooLarge(f"{number} is over the limit.")
    return number


class TaskOfARoom(FacesearchError):
    """An error whose __init__ takes something else than a message."""

    def __init__(self, limit: int, unit: str) -> None:
        self.limit = limit
        super().__init__(f"At most {limit} {unit}.")


def raise_unusual_error(number: int) -> int:
    raise TaskOfARoom(number, "bytes")


def raise_with_secret(number: int) -> int:
    raise ValueError("the password is hunter2")


def exit_process(number: int) -> int:
    raise SystemExit(0)


def return_unpicklable(number: int) -> object:
    return lambda: number


def current_pid(_: object) -> int:
    return os.getpid()


class Adder:
    """A task with a state: what it builds at its first item stays for the next."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __call__(self, number: int) -> int:
        if number < 0:
            raise BrokenImage
        return number + self.amount
