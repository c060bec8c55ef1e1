"""Joins what child processes measured, so that `coverage report` works right after a measured run.

`python3 -m coverage run --source=. -m pytest` writes one file for each process. They are joined when this
process ends, after coverage has written its own: exit handlers run last to first, and coverage's came
first. A run that coverage's start-up file began (COVERAGE_PROCESS_START) writes later than any handler
here; whoever set that variable joins the files.
"""

import atexit
import os

import coverage
import pytest


def pytest_configure(config: pytest.Config) -> None:
    measured = coverage.Coverage.current()
    if measured is None or hasattr(coverage.process_startup, "coverage"):
        return
    data_file = os.path.abspath(str(measured.get_option("run:data_file")))
    coverage.Coverage(data_file=data_file).erase()  # what an earlier run's late children left
    atexit.register(_join, data_file, os.getpid())


def _join(data_file: str, process: int) -> None:
    if os.getpid() == process:  # a forked child inherits the handler, but not the duty
        joined = coverage.Coverage(data_file=data_file)
        joined.combine()
        joined.save()
