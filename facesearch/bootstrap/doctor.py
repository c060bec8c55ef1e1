"""Checks of an installation, one after the other; they look, and change nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

from facesearch.bootstrap import host_checks
from facesearch.bootstrap.models import DLIB_DETECTORS, TEST_PHOTOS, check_model, model_store
from facesearch.bootstrap.scratch import scratch_models
from facesearch.bootstrap.service import INDEX, MODELS
from facesearch.config import LimitSettings, Settings, load_settings
from facesearch.databases import SQLImageDatabase, open_image_database
from facesearch.databases.factory import SQLITE_FILE
from facesearch.databases.inspection import (
    DatabaseState,
    inspect_file,
    inspect_server,
    inspect_tables,
    state_of,
    why_unreachable,
)
from facesearch.encoders import encoder_of_model, make_encoder
from facesearch.encoders.cards import ALL_KINDS
from facesearch.errors import FacesearchError, Unavailable
from facesearch.images import AGTImage
from facesearch.interfaces import ImageEncoder
from facesearch.records import OK, PROBLEM, WARNING, Finding, PhotoFile
from facesearch.search import ExactIndex, HNSWIndex
from facesearch.search.codes import FIT_FROM
from facesearch.search.inspection import index_bytes, inspect_index
from facesearch.service import EncodePhotos
from facesearch.workers import InlinePool, ProcessPool

_TEST_PHOTO = "Barack_Obama_0001.jpg"
_NOBODY_DOES = 1 << 62


def examine() -> Iterator[Finding]:
    """Yield what each check of the installation came to, as soon as it is known.

    Nothing is migrated, repaired or left behind, and a service may be running beside. Graphs that the
    service has not built yet are built in a temporary folder.
    """
    try:
        settings = load_settings()
    except FacesearchError as error:
        advice = "Correct the config file; docs/reference/configuration.md lists every key."
        yield Finding("config", PROBLEM, error.message, advice)
        return
    yield from _guarded("config", _config, settings)
    yield from _guarded("data folder", _data_folder, settings)
    # Before the encoder: the driver must be loaded before its libraries.
    state: list[DatabaseState] = []
    yield from _guarded("database", _database, settings, state)
    known = state[0] if state else None
    models = list(_guarded("models", _models, settings, known))
    yield from models
    if known is not None:
        yield from _guarded("collections", _collections, settings, known)
    if any(finding.state == PROBLEM for finding in models):
        yield Finding(
            "encoder", WARNING, "Not tried without its models, and neither are pool, index and memory."
        )
    else:
        with scratch_models(settings) as folder:
            yield from _guarded("encoder", _encoder, settings, folder, known)
            yield from _guarded("pool", _pool, settings, folder)
        yield from _guarded("index", _index, settings, known)
    yield from _guarded("port", _port, settings)
    yield from _guarded("clock", _clock, settings, known)
    yield from _guarded("open files", _open_files, settings)


def _guarded(name: str, check: Callable[..., Iterator[Finding]], *arguments: object) -> Iterator[Finding]:
    """Yield what a check finds; one that cannot be carried out is a problem, and costs no other."""
    try:
        yield from check(*arguments)
    except FacesearchError as error:
        yield Finding(name, PROBLEM, error.message)
    except OSError as error:
        yield Finding(name, PROBLEM, f"{error.strerror or error}.")
    except Exception as error:  # of a library, say: whoever asks what is wrong is to hear of the rest too
        yield Finding(name, PROBLEM, f"The check broke off: {type(error).__name__}: {error}.")


def _config(settings: Settings) -> Iterator[Finding]:
    yield host_checks.check_config(settings)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    yield host_checks.check_data_folder(settings.data_dir, settings.limits.zip_bytes)


def _database(settings: Settings, state: list[DatabaseState]) -> Iterator[Finding]:
    """Look at the database; where it can be read, leave what it holds in `state`."""
    file = settings.data_dir / SQLITE_FILE
    embedded = settings.database.engine == "sqlite"
    if embedded and not file.exists():
        yield Finding("database", OK, "SQLite: there is no file yet; the service makes it when it starts.")
        return
    if embedded and not os.access(file, os.R_OK | os.W_OK):
        advice = "Give facesearch.db to the user that the service runs as."
        yield Finding("database", PROBLEM, "SQLite: this user may not read and write the file.", advice)
        return
    with closing(open_image_database(settings, read_only=True)) as port:
        database = cast(SQLImageDatabase, port)
        try:
            found = state_of(database)
        except FacesearchError as error:
            yield why_unreachable(error, settings)
            return
        state.append(found)
        where = "SQLite" if embedded else f"MySQL at {settings.database.host}:{settings.database.port}"
        yield inspect_tables(found, where)
        if embedded:
            yield inspect_file(database, file)
        else:
            yield from inspect_server(database, settings)


def _models(settings: Settings, state: DatabaseState | None) -> Iterator[Finding]:
    """Verify the weights of every installed model, and try those that are in use."""
    store = model_store(settings)
    used = [settings.encoder.model]
    if settings.encoder.detector not in DLIB_DETECTORS:
        used.append(store.detector_of(settings.encoder.detector)[0].id)
    held = {one.model_id for one in state.collections} if state else set()
    cards = [store.card("dlib"), *store.installed().values()]
    used += [
        card.id
        for card in cards
        if card.task == "recognition" and {card.model_id(kind) for kind in ALL_KINDS} & held
    ]
    used = list(dict.fromkeys(used))
    tried = []
    for model in used:
        test = check_model(settings, model)
        tried.append(f"{model} ({test.ms:.0f} ms)")
    damaged = [model for model in store.installed() if model not in used and not store.is_whole(model)]
    if damaged:
        advice = f"facesearch models remove {damaged[0]}, and add it again; no search uses it now."
        yield Finding("models", WARNING, f"Damaged: {', '.join(damaged)}.", advice)
        return
    yield Finding("models", OK, f"Checksums are right; tried on the test photos: {', '.join(tried)}.")


def _collections(settings: Settings, state: DatabaseState) -> Iterator[Finding]:
    """Say whether vectors of every collection's model can be made."""
    missing = 0
    for one in state.collections:
        for model_id in filter(None, (one.model_id, one.next_model_id)):
            try:
                encoder_of_model(model_id, settings.encoder, settings.data_dir / MODELS)
            except FacesearchError:
                missing += 1
                yield Finding(
                    "collections",
                    PROBLEM,
                    f"{one.name} holds {one.faces:,} faces of {model_id}, and no installed model makes such "
                    "vectors: it cannot be searched.",
                    "Install the model again (`facesearch models add FILE`), or delete the collection.",
                )
    if not missing:
        number = len(state.collections)
        what = "1 collection" if number == 1 else f"{number:,} collections"
        yield Finding("collections", OK, f"{what}; vectors of every model that they hold can be made.")


def _encoder(settings: Settings, models: Path, state: DatabaseState | None) -> Iterator[Finding]:
    """Encode a test photo as a search does, with the default collection's model."""
    encoder = _gallery_encoder(settings, models, state)
    image = AGTImage.open(_photo().data, _TEST_PHOTO, LimitSettings())
    encoder.ping()
    started = perf_counter()
    faces = encoder.encode(image).faces
    spent = (perf_counter() - started) * 1000
    if len(faces) != 1:
        advice = "See encoder.upsample, encoder.min_face_px and encoder.detector in the config file."
        yield Finding("encoder", WARNING, f"{len(faces)} faces were found in a test photo with one.", advice)
        return
    yield Finding("encoder", OK, f"{encoder.model_id}: a test photo in {spent:.0f} ms.")


def _pool(settings: Settings, models: Path) -> Iterator[Finding]:
    """Have a child process encode a test photo."""
    task = EncodePhotos(
        partial(AGTImage.open, limits=LimitSettings()), make_encoder, (settings.encoder, models)
    )
    workers = settings.workers
    pool = ProcessPool(1, 1, workers.task_timeout_s, models / "slots", workers.memory_bytes)
    started = perf_counter()
    with closing(pool):
        [outcome] = pool.map(task, [[_photo()]])
        [encoded] = outcome.unwrap()
        encoded.unwrap()
    yield Finding(
        "pool", OK, f"A child process started and encoded a photo in {perf_counter() - started:.1f} s."
    )


def _index(settings: Settings, state: DatabaseState | None) -> Iterator[Finding]:
    """Look at the copy of each collection, and at the memory that they take."""
    encoder = make_encoder(settings.encoder, settings.data_dir / MODELS)
    kind = HNSWIndex if settings.search.index == "hnsw" else ExactIndex
    arguments = (settings.data_dir / INDEX, encoder.model_id, encoder.dimension, InlinePool(), _NOBODY_DOES)
    # Of the approximate index this tells whether its library is there; both read the same copy.
    kind(*arguments).close()
    with closing(ExactIndex(*arguments)) as index:
        if state is None or not state.collections:
            yield inspect_index(index, None, None, 0)
            faces = index.count()
            size = index_bytes(encoder.dimension, faces, FIT_FROM)
        else:
            yield from _copies(index, state)
            faces = state.faces
            size = sum(index_bytes(one.dimension, one.faces, FIT_FROM) for one in state.collections)
    yield host_checks.check_memory(settings, size, faces)


def _copies(index: ExactIndex, state: DatabaseState) -> Iterator[Finding]:
    """Look at the copy of each collection that has a model; of several, those in order are one finding."""
    held = [one for one in state.collections if one.model_id]
    if not held:
        yield inspect_index(index, state.database_id, state.collections[0].newest_change, 0)
        return
    in_order = []
    for one in held:
        with closing(index.of(one.number, str(one.model_id), one.dimension)) as copy:
            finding = inspect_index(copy, state.database_id, one.newest_change, one.faces)
        if len(held) == 1:
            yield finding
        elif finding.state != OK:
            yield replace(finding, message=f"{one.name}: {finding.message}")
        else:
            in_order.append(one)
    if in_order:
        faces = sum(one.faces for one in in_order)
        yield Finding(
            "index", OK, f"The copies of {len(in_order):,} collections are in order; {faces:,} faces."
        )


def _open_files(settings: Settings) -> Iterator[Finding]:
    yield host_checks.check_open_files(settings)


def _port(settings: Settings) -> Iterator[Finding]:
    yield host_checks.check_port(settings.server.host, settings.server.port)


def _clock(settings: Settings, state: DatabaseState | None) -> Iterator[Finding]:
    files = (Path(__file__), settings.data_dir / SQLITE_FILE)
    newest = max(file.stat().st_mtime for file in files if file.exists())
    yield host_checks.check_clock(newest, state.clock_ahead_s if state else None, settings.intake.lease_s)


def _gallery_encoder(settings: Settings, models: Path, state: DatabaseState | None) -> ImageEncoder:
    """The encoder of the default collection: of its model, and of the configured one without."""
    held = state.collections[0].model_id if state and state.collections else None
    if held is None:
        return make_encoder(settings.encoder, models)
    return encoder_of_model(held, settings.encoder, models)


def _photo() -> PhotoFile:
    try:
        return PhotoFile(_TEST_PHOTO, (TEST_PHOTOS / _TEST_PHOTO).read_bytes())
    except OSError:
        raise Unavailable("The test photos are missing: test_images/ belongs beside the package.") from None
