"""The options of commands that work on a collection, and where it is found."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import click

from facesearch.commands.collection_source import CollectionSource, CollectionsSource
from facesearch.commands.remote_collection import RemoteCollection, RemoteCollections
from facesearch.commands.remote_options import check_key, service_at, service_options
from facesearch.commands.text_arguments import COLLECTION
from facesearch.config import load_settings
from facesearch.errors import InvalidParameter
from facesearch.records import DEFAULT_COLLECTION

F = TypeVar("F", bound=Callable[..., Any])

collection_option = click.option(
    "--collection",
    metavar="NAME",
    type=COLLECTION,
    help="The collection.  [default: the key's own, else default]",
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most."
)
all_option = click.option("--all", "every", is_flag=True, help="All of them, however many there are.")


def source_options(command: F) -> F:
    """Give a command the parameters `collection`, `url` and `key`."""
    return collection_option(service_options(command))


def person_of(text: str) -> int | str:
    """Whom an argument means: digits are an id, all else is a name; after = digits are a name too.

    Raises:
        InvalidParameter: it is nobody.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    name = text.removeprefix("=")
    if not name:
        raise InvalidParameter("PERSON is an id or a name, and neither is empty.")
    return name


@contextmanager
def collection_at(url: str | None, key: str | None, collection: str | None) -> Iterator[CollectionSource]:
    """A collection in the database, or with a service where there is a `url`."""
    check_key(url, key)
    if url is not None:
        with closing(service_at(url, key)) as service:
            yield RemoteCollection(service, collection)
        return
    # Here, not above: numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.direct_collection import DirectCollection  # noqa: PLC0415

    with DirectCollection.of(load_settings(), collection or DEFAULT_COLLECTION) as source:
        yield source


@contextmanager
def collections_at(url: str | None, key: str | None) -> Iterator[CollectionsSource]:
    """The collections of the database, or those of a service where there is a `url`."""
    check_key(url, key)
    if url is not None:
        with closing(service_at(url, key)) as service:
            yield RemoteCollections(service)
        return
    from facesearch.bootstrap.direct_collection import DirectCollections  # noqa: PLC0415

    with DirectCollections.of(load_settings()) as source:
        yield source
