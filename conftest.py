"""What holds for every test: how child processes are measured, and what may not be skipped.

FACESEARCH_REQUIRE_MARIADB=1 turns a skipped test of the mark `mysql` into a failure,
FACESEARCH_REQUIRE_FACES=1 one of the mark `faces`, FACESEARCH_REQUIRE_HNSW=1 one of the mark `hnsw`, and
FACESEARCH_REQUIRE_FUZZ=1 one of the mark `fuzz`;
`tests.weights` has variables of its own.

`-n auto` spreads the tests over processes, four at most: each has a database server and models of its own.

`python3 -m coverage run --source=. -m pytest` writes one data file for each process, which `coverage report`
joins with what it finds; so what an earlier run left is removed first.
"""

import os
from collections.abc import Generator

import coverage
import pytest

from tests.weights import take_settings

REQUIRED_BY = {
    "mysql": "FACESEARCH_REQUIRE_MARIADB",
    "faces": "FACESEARCH_REQUIRE_FACES",
    "hnsw": "FACESEARCH_REQUIRE_HNSW",
    "fuzz": "FACESEARCH_REQUIRE_FUZZ",
}
REQUIRED = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Note what is required, and remove old data where `coverage run` measures this process."""
    if config.getoption("dist", "no") == "no":  # else the processes that run the tests are to inherit it
        # Taken out of the environment: to the service, variables of this prefix are settings.
        config.stash[REQUIRED] = {m: name for m, name in REQUIRED_BY.items() if os.environ.pop(name, "")}
        take_settings()
    measured = coverage.Coverage.current()
    # Where coverage's start-up file began, this may be a child of the run, and the data the run's own.
    if measured is not None and not hasattr(coverage.process_startup, "coverage"):
        coverage.Coverage(data_file=str(measured.get_option("run:data_file"))).erase()


def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts."""
    return min(4, os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test whose kind the environment requires."""
    report = yield
    required = [name for mark, name in item.config.stash[REQUIRED].items() if item.get_closest_marker(mark)]
    if report.skipped and not hasattr(report, "wasxfail") and required:
        report.outcome = "failed"
        report.longrepr = f"{required[0]} is set, but this was skipped: {report.longrepr}"
    return report
