"""What commands take of names, ids, and JSON objects."""

import json
import unicodedata
from typing import Any

import click

_LARGEST = 2**63 - 1
_DIGITS = 19


class _Name(click.ParamType[str]):
    """Text that can be stored and sent."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail("This is not UTF-8.", param, ctx)
        return str(value)


class _Collection(_Name):
    """A collection's name; those of collections are composed, whatever a keyboard makes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return unicodedata.normalize("NFC", super().convert(value, param, ctx))


class _Id(click.ParamType[int]):
    """The id of a face."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and 0 < int(text[:_DIGITS]) <= _LARGEST) or text[_DIGITS:]:
            self.fail(f"{text!r} is not the id of a face.", param, ctx)
        return int(text)


class _Object(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        try:
            read = json.loads(value, parse_constant=_refuse)
            json.dumps(read, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            self.fail('This is not a JSON object such as \'{"site": "Paris"}\'.', param, ctx)
        return read


NAME = _Name()
COLLECTION = _Collection()
ID = _Id()
JSON_OBJECT = _Object()


def _refuse(constant: str) -> None:
    raise ValueError(constant)
