import logging
from typing import NoReturn

import pytest

from facesearch.errors import DatabaseUnavailable, FaceNotFound
from facesearch.service.outage import Outage


def away() -> NoReturn:
    raise DatabaseUnavailable("The server is gone.")


def test_what_the_database_says_counts_and_what_is_known_while_it_is_away() -> None:
    outage = Outage()
    for _ in range(2):
        assert outage.ask(lambda: "said", lambda: "known") == "said"
        assert outage.ask(away, lambda: "known") == "known"


def test_where_nothing_is_known_the_error_reaches_the_caller_and_each_asks_for_itself() -> None:
    outage = Outage()
    assert outage.ask(away, lambda: "known") == "known"
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            outage.ask(away, lambda: "nothing", lambda: False)
    assert outage.ask(lambda: "said", lambda: "nothing", lambda: False) == "said"


def test_another_error_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> NoReturn:
        raise FaceNotFound

    with pytest.raises(FaceNotFound):
        Outage().ask(missing, lambda: "known")
    assert caplog.records == []


def test_an_outage_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            for _ in range(3):
                outage.ask(away, lambda: "known")
            outage.ask(lambda: "said", lambda: "known")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2
    assert caplog.records[0].message.startswith("The server is gone. ")
