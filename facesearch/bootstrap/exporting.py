"""Collections as files: written from the database, and taken into it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from facesearch.bootstrap.deeds import note_deed
from facesearch.bootstrap.service import MODELS
from facesearch.config import Settings
from facesearch.databases import (
    open_collection_store,
    open_image_database,
    open_transfer_store,
)
from facesearch.encoders import encoder_of_model, make_encoder
from facesearch.errors import ModelMismatch
from facesearch.service.encoders import Encoders
from facesearch.service.exports.reading import CollectionFile, is_exported_collection
from facesearch.service.exports.restoring import Restoring
from facesearch.service.exports.writing import export_collection, new_file
from facesearch.web.callers import collection_label

Progress = Callable[[str, int, int], None]


def export(
    settings: Settings, collection: str, path: Path, replace: bool, on_progress: Progress
) -> dict[str, Any]:
    """Write a collection into a file; return what the file tells of it.

    Args:
        replace: whether a file that is there may be replaced.

    Raises:
        CollectionNotFound, DatabaseUnavailable
        Invalid: there is a file of this name.
        OSError: the file cannot be written.
    """
    with (
        closing(open_image_database(settings, read_only=True)) as database,
        new_file(path, replace=replace) as file,
    ):
        stores = open_collection_store(database), open_transfer_store(database)
        manifest = export_collection(*stores, collection, file, on_progress)
    return {
        "collection": manifest.collection,
        "file": path.name,
        "bytes": path.stat().st_size,
        "model": manifest.model_id,
        "faces": manifest.faces,
        "people": manifest.people,
        "crops": manifest.crops,
        "exported_at": manifest.exported_at,
    }


def is_export(settings: Settings, path: Path) -> bool:
    """Whether a file is an exported collection, as far as the names in it tell."""
    with path.open("rb") as file:
        return is_exported_collection(file, settings.limits)


def import_export(settings: Settings, path: Path, collection: str, on_progress: Progress) -> dict[str, Any]:
    """Take an exported collection into a new or an empty one; return it as it is then.

    Raises:
        Invalid: the file cannot be used.
        ModelMismatch: no installed model makes such vectors, or the collection has another model.
        Conflict: the collection is not empty.
        OSError: the file cannot be read.
    """
    # The database first: its driver must be loaded before the encoder's libraries.
    with closing(open_image_database(settings)) as database, path.open("rb") as opened:
        encoders = model_encoders(settings)

        def dimension_of(model_id: str) -> int:
            try:
                return encoders.of(model_id).dimension
            except ModelMismatch:
                raise ModelMismatch(
                    f"The file holds vectors of {model_id}, which no installed model makes; "
                    "`facesearch models` lists and adds models."
                ) from None

        with closing(CollectionFile(opened, settings.limits)) as file:
            stores = open_collection_store(database), open_transfer_store(database)
            made = Restoring(file, *stores, dimension_of, on_progress).into(collection)
            crops = file.manifest.crops
        note_deed(settings, database, "import of a collection", collection_label(made.number))
    return {
        "collection": made.name,
        "file": path.name,
        "model": made.model_id,
        "faces": made.faces,
        "people": made.people,
        "crops": crops,
    }


def model_encoders(settings: Settings) -> Encoders:
    """The encoders of every installed model; none loads anything yet."""
    arguments = settings.encoder, settings.data_dir / MODELS
    return Encoders(make_encoder(*arguments), lambda model_id: encoder_of_model(model_id, *arguments))
