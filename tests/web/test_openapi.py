"""The OpenAPI document: complete, and true of what the routes answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from facesearch.errors import FacesearchError
from facesearch.records import Quality
from facesearch.web import schemas
from facesearch.web.envelope import status_of
from facesearch.web.error_codes import all_codes
from tests.web.conftest import FakeAPI

PHOTO = {"file": ("a.jpg", b"photo")}
ZIP = {"file": ("a.zip", b"zip")}
Document = dict[str, Any]


@pytest.fixture
def document(client: TestClient) -> Document:
    content: Document = client.get("/openapi.json").json()
    return content


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def models(kind: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for below in kind.__subclasses__():
        yield below
        yield from models(below)


def model_named(reference: str) -> type[BaseModel]:
    name = reference.rpartition("/")[2]
    (found,) = {m for m in models() if m.__name__ == name and m.__module__.startswith("facesearch.web")}
    return found


def shape(value: Any) -> Any:
    """A value's keys and lengths without what they hold."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


def check(content: Any, model: type[BaseModel]) -> None:
    """Expect that a model takes something, and knows each of its keys."""
    assert shape(model.model_validate(content).model_dump(mode="json", exclude_unset=True)) == shape(content)


def test_every_code_stands_in_one_place_with_its_status_and_meaning(document: Document) -> None:
    schema = document["components"]["schemas"]["ErrorCode"]
    known, open_ends = set(), [FacesearchError]
    while open_ends:
        kind = open_ends.pop()
        known.add(kind.code)
        open_ends += [k for k in kind.__subclasses__() if k.__module__ == FacesearchError.__module__]
        assert f"| `{kind.code}` | {status_of(kind())} | {kind().message} |" in schema["description"]
    assert known | {"internal", "http_404", "not_found", "method_not_allowed"} <= set(schema["enum"])
    for error in ("V1Error", "OldErrorResult"):
        code = document["components"]["schemas"][error]["properties"]["code"]
        assert code == {"$ref": "#/components/schemas/ErrorCode"}


def test_every_operation_says_what_it_is_and_answers(document: Document) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        answers = operation["responses"].items()
        (success,) = [told for status, told in answers if status.startswith("2") and status != "204"]
        for kind, content in success["content"].items():
            assert content.get("schema"), (name, kind)
            assert "example" in content or "examples" in content, (name, kind)
        if not name.endswith(("/healthz", "/readyz", "/metrics")):
            assert set(operation["responses"]) & {"default", "400", "404", "503"}, name


def test_examples_are_what_their_schemas_say(document: Document) -> None:
    seen = 0
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if content is None:
                continue
            reference = content["schema"].get("$ref")
            assert reference, (name, status)
            named = {key: one["value"] for key, one in content.get("examples", {}).items()}
            for key, value in named.items():
                check(value, model_named(reference))
                code = value.get("code") or value["result"]["code"]
                assert code == key
                assert status in ("default", str(all_codes()[code].status)), (name, code)
            if "example" in content:
                check(content["example"], model_named(reference))
            seen += len(named) + ("example" in content)
    assert seen > 60


def codes(operation: Document) -> set[str]:
    """The codes of the errors that an operation shows."""
    contents = [answer.get("content", {}) for answer in operation["responses"].values()]
    return {code for content in contents for code in content.get("application/json", {}).get("examples", ())}


def test_a_body_that_is_too_large_and_a_full_disk_are_told(document: Document) -> None:
    for name, operation in operations(document):
        takes, told = operation.get("requestBody", {}).get("content", {}), codes(operation)
        if "application/json" in takes:
            assert {"too_large", "invalid_parameter"} <= told, name
        # Photos wait on the disk, the copy that is searched lies on it, and erasing writes there.
        writes = any(word in name for word in ("search", "/delete", "DELETE /v1/"))
        if "multipart/form-data" in takes or (writes and "/jobs/" not in name):
            assert "storage_full" in told, name


def test_null_is_taken_as_no_metadata(document: Document) -> None:
    metadata = document["components"]["schemas"]["FaceChange"]["properties"]["metadata"]
    assert {"type": "null"} in metadata["anyOf"]


def test_answers_are_what_their_schemas_say(client: TestClient, api: FakeAPI) -> None:
    job = client.post("/v1/imports", files=ZIP).json()
    answers: list[tuple[Any, type[BaseModel]]] = [
        (client.post("/search_faces/", files=PHOTO), schemas.SearchAnswer),
        (client.post("/add_face/", files=PHOTO), schemas.AddAnswer),
        (client.post("/add_faces_in_bulk/", files=ZIP), schemas.BulkAnswer),
        (client.post("/get_face_info/", data={"image_id": "7"}), schemas.InfoAnswer),
        (client.get(job["links"]["self"]), schemas.JobAnswer),
        (client.get(job["links"]["files"]), schemas.FilesPage),
        (client.get("/v1/jobs"), schemas.JobsPage),
        (client.get("/v1/info"), schemas.Info),
        (client.get("/healthz"), schemas.Alive),
        (client.get("/readyz"), schemas.Ready),
    ]
    for answer, model in answers:
        assert answer.status_code == 200, model
        check(answer.json(), model)
    assert client.post("/get_face_info/", data={"image_id": "7"}).json()["body"]["quality"].keys() == set(
        Quality.__dataclass_fields__
    )


def test_errors_are_what_their_schemas_say_and_carry_a_known_code(client: TestClient) -> None:
    for path in ("/nothing", "/v1/nothing", "/v1/jobs/none", "/v1/jobs?limit=0", "/search_faces/"):
        content = client.get(path).json()
        check(content, schemas.V1Error if path.startswith("/v1/") else schemas.OldError)
        assert (content.get("code") or content["result"]["code"]) in all_codes()
