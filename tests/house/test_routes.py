"""README's table of routes is that of the OpenAPI document."""

from docs.list_routes import PAGE, document, table, with_table


def test_the_table_of_routes_is_that_of_now() -> None:
    page = PAGE.read_text()
    assert with_table(page, document()) == page, "python3 -m docs.list_routes"
    assert table(document()) in page


def test_another_route_would_show() -> None:
    content = document()
    content["paths"]["/v1/else"] = {"get": {"summary": "Do something else", "parameters": []}}
    assert "| `GET /v1/else` |  | Do something else |\n" in with_table(PAGE.read_text(), content)


def test_what_has_to_be_sent_is_told_apart() -> None:
    (row,) = [line for line in table(document()).splitlines() if "`POST /add_face/`" in line]
    assert "| **`file`**, `detector`," in row
