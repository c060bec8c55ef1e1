"""What holds for every test: how child processes are measured, and what may not be skipped.

FACESEARCH_REQUIRE_MARIADB=1 turns a skipped test of the mark `mysql` into a failure, and
FACESEARCH_REQUIRE_FACES=1 one of the mark `faces`.

`python3 -m coverage run --source=. -m pytest` writes one file for each process. They are joined when this
process ends, after coverage has written its own: exit handlers run last to first, and coverage's came
first. A run that coverage's start-up file began (COVERAGE_PROCESS_START) writes later than any handler
here; whoever set that variable joins the files.
"""

import atexit
import os
from collections.abc import Generator

import coverage
import pytest

REQUIRED_BY = {"mysql": "FACESEARCH_REQUIRE_MARIADB", "faces": "FACESEARCH_REQUIRE_FACES"}
REQUIRED = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Note what is required, and have the data files joined where `coverage run` measures this process."""
    # Taken out of the environment: to the service, variables of this prefix are settings.
    config.stash[REQUIRED] = {m: name for m, name in REQUIRED_BY.items() if os.environ.pop(name, "")}
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test whose kind the environment requires."""
    report = yield
    required = [name for mark, name in item.config.stash[REQUIRED].items() if item.get_closest_marker(mark)]
    if report.skipped and not hasattr(report, "wasxfail") and required:
        report.outcome = "failed"
        report.longrepr = f"{required[0]} is set, but this was skipped: {report.longrepr}"
    return report
