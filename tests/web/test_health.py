import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from facesearch.config import LimitSettings, LogSettings, ServerSettings, Settings
from facesearch.errors import DatabaseUnavailable
from facesearch.records import Figures, PartState, Readiness
from facesearch.web import create_app
from tests.web.conftest import FakeAPI, local_client

PHOTO = {"file": ("Ada_Lovelace.jpg", b"photo")}


def metrics_of(client: TestClient) -> dict[str, float]:
    """The samples by their name and labels, as in `name{route="/x"}`, labels in the order of their names."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        sample.name
        + ("{" + ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items())) + "}"): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_process_is_alive_whatever_its_parts_do(client: TestClient, api: FakeAPI) -> None:
    api.fake_health.readiness = Readiness("failed", ())
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (api.calls, api.fake_health.asked) == ([], 0)
    assert client.head("/healthz").status_code == 200


def test_a_service_whose_parts_work_is_ready(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    content = answer.json()
    assert content["status"] == "ok"
    assert content["parts"][0] == {"name": "database", "state": "ok", "ms": 1.0, "error": None}
    assert [part["name"] for part in content["parts"]] == ["database", "index", "encoder", "pool"]
    assert client.head("/readyz").status_code == 200


@pytest.mark.parametrize(("state", "status"), [("stale", 200), ("failed", 503)])
def test_a_part_that_fails_is_told_and_is_503_unless_searches_go_on(
    client: TestClient, api: FakeAPI, state: str, status: int
) -> None:
    away = PartState("database", 2.0, "timed_out", "It has not answered within 2 seconds.")
    api.fake_health.readiness = Readiness(state, (away, PartState("index", 0.001)))
    answer = client.get("/readyz")
    assert answer.status_code == status
    error = {"code": "timed_out", "message": "It has not answered within 2 seconds."}
    assert answer.json() == {
        "status": state,
        "parts": [
            {"name": "database", "state": "failed", "ms": 2000.0, "error": error},
            {"name": "index", "state": "ok", "ms": 1.0, "error": None},
        ],
    }


def test_a_service_that_is_asked_to_stop_is_not_ready_any_more(client: TestClient) -> None:
    client.app.state.stopping.note()  # type: ignore[attr-defined]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    assert client.get("/healthz").status_code == 200


def test_probes_are_answered_while_the_service_takes_no_more_requests(
    client: TestClient, settings: Settings
) -> None:
    places = client.app.state.in_flight  # type: ignore[attr-defined]
    places._taken = places.number
    try:
        assert client.get("/v1/info").status_code == 503
        assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    finally:
        places._taken = 0


def test_requests_are_counted_by_template_method_and_status(client: TestClient, api: FakeAPI) -> None:
    for _ in range(2):
        client.post("/search_faces/?k=3", files=PHOTO)
    client.post("/search_faces", files=PHOTO)
    client.post("/search_faces/?k=none", files=PHOTO)
    client.get("/v1/jobs/one")
    client.get("/v1/jobs/two")
    client.get("/nothing/of/this")
    client.request("BREW", "/v1/info")
    found = metrics_of(client)
    counted = {name: value for name, value in found.items() if name.startswith("facesearch_requests_total")}
    assert counted == {
        'facesearch_requests_total{method="POST",route="/search_faces",status="200"}': 3,
        'facesearch_requests_total{method="POST",route="/search_faces",status="400"}': 1,
        'facesearch_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}': 2,
        'facesearch_requests_total{method="GET",route="unmatched",status="404"}': 1,
        'facesearch_requests_total{method="OTHER",route="/v1/info",status="405"}': 1,
    }
    assert found['facesearch_request_seconds_count{method="POST",route="/search_faces"}'] == 4


def test_errors_are_counted_by_code(client: TestClient, api: FakeAPI) -> None:
    api.error = DatabaseUnavailable()
    client.post("/search_faces/", files=PHOTO)
    client.post("/search_faces/", files=PHOTO)
    api.error = ZeroDivisionError()
    client.post("/search_faces/", files=PHOTO)
    client.get("/nothing")
    found = metrics_of(client)
    assert {name: value for name, value in found.items() if name.startswith("facesearch_errors_total")} == {
        'facesearch_errors_total{code="database_unavailable"}': 2,
        'facesearch_errors_total{code="internal"}': 1,
        'facesearch_errors_total{code="http_404"}': 1,
    }


def test_what_clients_invent_makes_no_new_series(client: TestClient) -> None:
    def ask(text: str) -> None:
        client.get(f"/v1/jobs/{text}")
        client.get(f"/{text}")
        client.request(f"BREW{text}", f"/{text}", headers={"X-Request-ID": text})

    ask("first")
    metrics_of(client)  # counts itself
    before = metrics_of(client).keys()
    for number in range(20):
        ask(str(number))
    assert metrics_of(client).keys() == before


def test_requests_that_are_refused_for_want_of_a_place_are_counted_under_their_route(
    api: FakeAPI, settings: Settings
) -> None:
    few = settings.model_copy(update={"server": ServerSettings(requests_in_flight=1)})
    with local_client(create_app(lambda: few, lambda _: api)) as client:
        client.app.state.in_flight._taken = 1  # type: ignore[attr-defined]
        assert client.get("/v1/jobs/some").status_code == 503
        found = metrics_of(client)
    assert found['facesearch_requests_total{method="GET",route="/v1/jobs/{job_id}",status="503"}'] == 1


def test_figures_of_the_whole_service_are_told(client: TestClient, api: FakeAPI) -> None:
    found = metrics_of(client)
    assert found["facesearch_faces{}"] == 1234
    assert found["facesearch_index_changes_behind{}"] == 2
    assert found["facesearch_database_answers{}"] == 1
    assert found['facesearch_jobs{state="queued"}'] == 3
    assert found['facesearch_jobs{state="running"}'] == 1
    assert found["facesearch_requests_in_flight{}"] == 1  # this one
    api.fake_health.counted = Figures(faces=9)
    away = metrics_of(client)
    assert (away["facesearch_faces{}"], away["facesearch_database_answers{}"]) == (9, 0)
    assert not {name for name in away if name.startswith(("facesearch_jobs", "facesearch_index"))}


def test_restarts_of_the_pool_are_counted_once(client: TestClient, api: FakeAPI) -> None:
    assert metrics_of(client)["facesearch_pool_restarts_total{}"] == 0
    api.fake_health.restarts = 3
    assert metrics_of(client)["facesearch_pool_restarts_total{}"] == 3
    assert metrics_of(client)["facesearch_pool_restarts_total{}"] == 3


def test_every_stage_has_its_series_from_the_start(client: TestClient) -> None:
    found = metrics_of(client)
    assert [found[f'facesearch_stage_seconds_count{{stage="{name}"}}'] for name in ("decode", "embed")] == [
        0,
        0,
    ]


def test_spans_that_cannot_be_made_are_said_at_the_start(
    api: FakeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    settings = Settings(limits=LimitSettings(), log=LogSettings(opentelemetry=True))
    with (
        pytest.raises(Exception, match=r"log\.opentelemetry needs opentelemetry-sdk and"),
        local_client(create_app(lambda: settings, lambda _: api)),
    ):
        pass
    assert not api.is_open
