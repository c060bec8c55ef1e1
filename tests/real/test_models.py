"""The whole service with a recognition network and a detector that were added to it."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders.model_store import ModelStore
from tests.server import PROJECT_ROOT, Server
from tests.weights import centerface_file, mobilefacenet_file

PICTURES = PROJECT_ROOT / "test_images"
PEOPLE = ["Barack_Obama_0001.jpg", "Joe_Biden_0001.jpg", "Eileen_Collins_0001.jpg"]
SETTINGS: dict[str, Any] = {
    "encoder": {"model": "mobilefacenet", "detector": "centerface"},
    "workers": {"processes": 1},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for the whole module; its gallery gets three people through a bulk."""
    folder = tmp_path_factory.mktemp("service")
    store = ModelStore(folder / "facesearch-data" / "models")
    store.add(mobilefacenet_file(), store.card("mobilefacenet"))
    store.add(centerface_file(), store.card("centerface"))
    with Server(folder, SETTINGS, workers=2) as running:
        answer = running.client.post("/add_faces_in_bulk/", files={"file": ("people.zip", zipped(PEOPLE))})
        assert answer.json()["result"]["inserted"] == 3
        yield running
        assert "Traceback" not in running.log, running.log


def zipped(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.write(PICTURES / name, name)
    return buffer.getvalue()


def post(server: Server, route: str, name: str) -> Any:
    return server.client.post(route, files={"file": (name, (PICTURES / name).read_bytes())})


@pytest.mark.parametrize("detector", ["", "&detector=centerface", "&detector=hog"])
def test_a_person_is_found_and_nobody_else(server: Server, detector: str) -> None:
    """The pool's processes enrolled; a server's process searches with the same network."""
    for name in ("Barack_Obama_0002.jpg", "Barack_Obama_0003.jpg"):
        matches = post(server, f"/search_faces/?k=10{detector}", name).json()["result"]["faces"][0]["matches"]
        assert [match["person_name"] for match in matches] == ["Barack Obama"]


def test_faces_carry_the_networks_name(server: Server) -> None:
    added = post(server, "/add_face/", "Barack_Obama_0002.jpg").json()["result"]
    info = server.client.post("/get_face_info/", data={"face_id": str(added["id"])}).json()["body"]
    assert info["model"] == "mobilefacenet-mirror"


def test_a_detector_that_is_not_installed_is_the_clients_mistake(server: Server) -> None:
    answer = post(server, "/search_faces/?detector=yunet", PEOPLE[0])
    assert answer.status_code == 400
    assert "yunet is not installed" in answer.text


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        ({"model": "mobilefacenet"}, "mobilefacenet is not installed"),
        ({"detector": "centerface"}, "centerface is not installed"),
        ({"model": "nobodys"}, "No model nobodys is known"),
    ],
)
def test_what_is_not_installed_is_said_at_the_start(
    tmp_path: Path, encoder: dict[str, str], reason: str
) -> None:
    with (
        pytest.raises(RuntimeError, match=reason) as caught,
        Server(tmp_path, {"encoder": encoder}, workers=1),
    ):
        pass
    assert "Traceback" not in str(caught.value)
