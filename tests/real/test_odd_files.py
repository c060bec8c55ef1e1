"""Files as users send them, the hostile ones too, sent to the running service."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labelled_photos import labelled
from tests.odd_expectations import ODD
from tests.server import Server

pytestmark = pytest.mark.faces

ANSWER_S = 60.0  # a hang is a failure; how long it really takes, benchmarks/odd.py prints


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    labelled("odd")
    with Server(tmp_path_factory.mktemp("odd")) as running:
        running.client.timeout = ANSWER_S
        yield running
        assert "Traceback" not in running.log, running.log
        assert "Unforeseen" not in running.log, running.log


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_odd_file_is_answered_as_expected_and_the_next_request_too(server: Server, name: str) -> None:
    expected = ODD[name]
    file = {"file": (name, odd_file(name).read_bytes())}
    for route, status in (("/search_faces/?k=3", expected.search), ("/add_face/", expected.add)):
        answer = server.client.post(route, files=file)
        assert answer.status_code == status, answer.text
        content = answer.json()
        assert content["status"] == ("OK" if status == 200 else "ERROR")
        assert content["body"]
    following = server.client.post("/get_face_info/", data={"image_id": "999999999"})
    assert following.status_code == 404


def odd_file(name: str) -> Path:
    """The file of that name, however the checkout's file system spells its accents."""
    wanted = unicodedata.normalize("NFC", name)
    return next(f for f in labelled("odd").iterdir() if unicodedata.normalize("NFC", f.name) == wanted)
