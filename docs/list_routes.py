"""Writes the table of routes into README.md, from the OpenAPI document: `python3 -m docs.list_routes`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facesearch.bootstrap import make_app

PAGE = Path(__file__).parent.parent / "README.md"

_TABLE = re.compile(r"(?<=<!-- routes -->\n).*?(?=<!-- end of routes -->)", re.DOTALL)
_HEAD = "| route | takes | does |\n|---|---|---|\n"


def document() -> dict[str, Any]:
    """The OpenAPI document of the application, which need not run for it."""
    return make_app().openapi()


def table(content: dict[str, Any]) -> str:
    """A row for each operation of an OpenAPI document, in its order.

    What has to be sent stands in bold type; parts of the path are not repeated.
    """
    rows = []
    for path, methods in content["paths"].items():
        for method, operation in methods.items():
            takes = ", ".join(dict.fromkeys([*_fields(operation, content), *_parameters(operation)]))
            rows.append(f"| `{method.upper()} {path}` | {takes} | {operation['summary']} |\n")
    return _HEAD + "".join(rows)


def with_table(page: str, content: dict[str, Any]) -> str:
    """A page with the table of now between its two marks."""
    return _TABLE.sub(lambda _: table(content), page)


def _fields(operation: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    for body in operation.get("requestBody", {}).get("content", {}).values():
        schema = body["schema"]
        if "$ref" in schema:
            schema = content["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for name in schema.get("properties", {}):
            yield _named(name, name in schema.get("required", ()))


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "path":
            yield _named(parameter["name"], parameter.get("required", False))


def _named(name: str, required: bool) -> str:
    return f"**`{name}`**" if required else f"`{name}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(), document()))
