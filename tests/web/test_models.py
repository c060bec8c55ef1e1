from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from facesearch.errors import DatabaseUnavailable, ModelNotFound
from tests.web.conftest import MODEL, FakeAPI


def test_a_model_tells_its_calibration_and_how_it_was_measured(client: TestClient, api: FakeAPI) -> None:
    answer = client.get("/v1/models/network-mirror")
    assert answer.status_code == 200
    told = answer.json()
    warning = told["false_alarms"].pop("warning")
    assert "grows with the gallery" in warning
    assert told == {
        "id": "network-mirror",
        "name": "A network",
        "kind": "mirror",
        "dimension": 128,
        "tolerance": 0.6,
        "in_use": True,
        "configured": True,
        "licence": {"name": "CC0 1.0", "commercial_use": True, "url": "https://a.example", "note": None},
        "source": {"document": "README.md", "url": None},
        "calibration": {
            "measured_on": "150 photos.",
            "people": 20,
            "photos": 150,
            "genuine_pairs": 400,
            "impostor_pairs": 10_000,
            "rates": [
                {
                    "false_match_rate": rate,
                    "false_match_rate_95": [0.00812, 0.012],
                    "impostor_pairs": 10_000,
                    "tolerance": tolerance,
                    "true_accept_rate": accepted,
                    "true_accept_rate_95": [0.94, 0.98],
                }
                for rate, tolerance, accepted in ((0.01, 0.6, 0.97), (0.001, 0.5, 0.9))
            ],
            "similarity": [
                {"distance": 0.0, "similarity": 100.0},
                {"distance": 0.5, "similarity": 80.0},
                {"distance": 0.6, "similarity": 50.0},
                {"distance": 0.8, "similarity": 0.0},
            ],
        },
        "false_alarms": {
            "now": {
                "faces": 7,
                "tolerance": 0.6,
                "false_match_rate": 0.01,
                "false_alarm_rate": 0.0679,
                "extrapolated": False,
            },
            "by_size": [
                {
                    "faces": 100,
                    "tolerance": 0.6,
                    "false_match_rate": 0.01,
                    "false_alarm_rate": 0.634,
                    "extrapolated": False,
                }
            ],
        },
    }
    assert api.calls == [("model", "network-mirror")]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/"])
def test_the_models_are_listed(client: TestClient, api: FakeAPI, path: str) -> None:
    api.known_models = (MODEL, replace(MODEL, id="other-plain", in_use=False))
    told = client.get(path).json()
    assert [(model["id"], model["in_use"]) for model in told["models"]] == [
        ("network-mirror", True),
        ("other-plain", False),
    ]


def test_what_is_not_known_is_null(client: TestClient, api: FakeAPI) -> None:
    unknown = replace(MODEL, origin=None, calibration=None, rates=(), in_use=None, expected=None, by_size=())
    api.known_models = (unknown,)
    told = client.get("/v1/models/network-mirror").json()
    for key in ("name", "kind", "licence", "source", "calibration", "in_use"):
        assert told[key] is None
    assert (told["false_alarms"]["now"], told["false_alarms"]["by_size"]) == (None, [])


@pytest.mark.parametrize("name", ["unknown", "Zo%C3%AB", "x" * 255, "x" * 5_000, "%00", "default"])
def test_an_unknown_model_is_404(client: TestClient, api: FakeAPI, name: str) -> None:
    api.error = ModelNotFound()
    answer = client.get(f"/v1/models/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("model_not_found", "not_found")


def test_an_error_of_the_service_has_its_code(client: TestClient, api: FakeAPI) -> None:
    api.error = DatabaseUnavailable()
    for path in ("/v1/models", "/v1/models/network-mirror"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
