"""Commands on collections in memory, in this process and through the routes of a service."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from facesearch.bootstrap import direct_collection
from facesearch.cli import main
from facesearch.commands import confirming
from facesearch.config import Settings
from facesearch.web import create_app
from tests.web.conftest import FakeAPI, local_client
from tests.web.fake_gallery import FakeCollections, FakeGallery

Typed = Callable[..., Result]

URL = "http://service"


class Service:
    """In the place of a connection: the routes themselves, however long they take."""

    def __init__(self, client: TestClient, headers: Mapping[str, str]) -> None:
        self._client = client
        self._headers = headers

    def request(self, method: str, path: str, **asked: Any) -> httpx2.Response:
        asked.pop("timeout", None)
        return self._client.request(method, f"/{path}", headers=self._headers, **asked)

    def get(self, path: str, **asked: Any) -> httpx2.Response:
        return self.request("GET", path, **asked)

    def close(self) -> None:
        """It may be asked again."""


@pytest.fixture
def api() -> FakeAPI:
    return FakeAPI()


@pytest.fixture
def house(api: FakeAPI) -> FakeCollections:
    return api.fake_collections


@pytest.fixture
def gallery(house: FakeCollections) -> FakeGallery:
    """The default collection: faces 1 and 2 of Ada Lovelace, 3 of Grace Hopper, and 4 of nobody."""
    gallery = house.gallery("default")
    for name, site in (
        ("Ada Lovelace", "Paris"),
        ("Ada Lovelace", "Rome"),
        ("Grace Hopper", "Rome"),
        ("", ""),
    ):
        gallery.add(name, {"site": site} if site else {})
    return gallery


@pytest.fixture
def somebody_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a terminal, to ask at."""
    monkeypatch.setattr(confirming, "_asks", lambda: True)


@pytest.fixture(params=["direct", "remote"])
def typed(
    request: pytest.FixtureRequest, api: FakeAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Typed]:
    """Run a command line, on the database or on a service."""
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FACESEARCH_API_KEY", raising=False)
    at: tuple[str, ...] = ()
    with ExitStack() as stack:
        if request.param == "remote":
            at = ("--url", URL)
            client = stack.enter_context(local_client(create_app(Settings, lambda _: api)))
            monkeypatch.setattr(httpx2, "Client", lambda headers, **_: Service(client, headers))
        else:

            def opened(_: Settings) -> FakeAPI:
                assert not api.is_open
                api.open()
                return api

            monkeypatch.setattr(direct_collection, "looking_api", opened)
            monkeypatch.setattr(direct_collection, "changing_api", opened)

        def run(*words: Any, ends: int = 0, typing: str | None = None) -> Result:
            result = CliRunner().invoke(main, [*map(str, words), *at], input=typing)
            assert result.exit_code == ends, result.output
            return result

        yield run
    assert not api.is_open
