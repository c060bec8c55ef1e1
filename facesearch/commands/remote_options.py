"""The options `--url` and `--key` of commands that ask the database itself, or a running service."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

import click

from facesearch.commands.remote_service import Query, RemoteService
from facesearch.errors import Unavailable

F = TypeVar("F", bound=Callable[..., Any])


def service_options(command: F) -> F:
    """Give a command the parameters `url` and `key`."""
    key = click.option(
        "--key", metavar="KEY", help="The key that the service wants.  [default: FACESEARCH_API_KEY]"
    )
    url = click.option(
        "--url", metavar="URL", help="A running service to ask.  [default: the database itself]"
    )
    return url(key(command))


def service_at(url: str, key: str | None) -> RemoteService:
    """Return a client of a service that is not waited for; to be closed."""
    return RemoteService(url, patience_s=0, key=key)


def check_key(url: str | None, key: str | None) -> None:
    """Refuse a key that nobody is shown."""
    if key is not None and url is None:
        raise click.UsageError("--key goes with --url.")


def asked(
    url: str,
    key: str | None,
    path: str,
    query: Query,
    files: Sequence[tuple[str, tuple[str, bytes]]],
    expected: str,
) -> dict[str, Any]:
    """Send photos to a service, and return its answer.

    Args:
        query: what is None is left out.
        files: a field, and the name and the bytes of a file.
        expected: a key that the answer has.

    Raises:
        Unavailable: whoever is there answers something else.
        FacesearchError: the service refuses.
    """
    with closing(service_at(url, key)) as service:
        answer = service.ask("POST", path, query, files)
        if not isinstance(answer.get(expected), list):
            raise Unavailable(f"What {service.name} answers is not understood: is it a facesearch?")
        return answer
