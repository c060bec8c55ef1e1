"""Models: installed, tried, measured and chosen."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.bootstrap.direct import tables_version
from facesearch.bootstrap.service import MODELS, worker_pool
from facesearch.config import EncoderSettings, LimitSettings, Settings, change_settings
from facesearch.databases import open_collection_store, open_image_database
from facesearch.encoders import make_encoder
from facesearch.encoders.calibration import described, fit, with_calibrations
from facesearch.encoders.cards import ALL_KINDS, ModelCard
from facesearch.encoders.fetch import Progress, fetch
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.quantise import quantise, quantised_card
from facesearch.encoders.self_test import SelfTest, TestPhoto, self_test
from facesearch.errors import Invalid, ModelMismatch, Unavailable
from facesearch.images import AGTImage
from facesearch.service.labelled import EncodeLabelled, encode_labelled, labelled_photos

DLIB_DETECTORS = ("hog", "cnn")
_PAGE = 1000
TEST_PHOTOS = Path(__file__).resolve().parents[2] / "test_images"


def model_store(settings: Settings) -> ModelStore:
    """The models of the data folder."""
    return ModelStore(settings.data_dir / MODELS)


def add_model(settings: Settings, file: Path, card: ModelCard) -> SelfTest:
    """Install a model that passes its test; nothing is left behind where it does not.

    Raises:
        Invalid: the file is not the card's, or does not do what the card says.
        Conflict: a model of this id, or another detector of this family, is installed.
    """
    trial = _Trial(settings)
    model_store(settings).add(file, card, trial)
    return trial.result


def fetch_model(settings: Settings, card: ModelCard, progress: Progress) -> SelfTest:
    """Fetch the file of a card from its address, and install it as `add_model` does.

    Raises:
        Invalid: the card does not pin the file, or what came is not the file.
        Unavailable: there is no connection, or it ended early.
    """
    store = model_store(settings)
    store.refuse_second(card)
    file = fetch(card, settings.data_dir / MODELS / "downloads", progress)
    try:
        test = add_model(settings, file, card)
    except Invalid:
        file.unlink(missing_ok=True)
        raise
    # What ended otherwise, by ^C or for want of space, need not be fetched again.
    file.unlink(missing_ok=True)
    return test


def check_model(settings: Settings, model: str) -> SelfTest:
    """Verify the SHA-256 of an installed model and try it again.

    Raises:
        Unavailable: it is not installed, or damaged.
        Invalid: it does not do what its card says.
    """
    trial = _Trial(settings)
    model_store(settings).check(model, trial)
    return trial.result


def quantise_model(settings: Settings, model: str) -> tuple[ModelCard, SelfTest]:
    """Make the 8-bit twin of an installed recognition network, and install it as `add_model` does.

    What the test saw ends with the cost: how near the twin's vectors are to those of the floats.

    Raises:
        Unavailable: the model is not installed.
        Invalid: it cannot be quantised, or its twin does not tell people apart.
        Conflict: the twin is installed.
    """
    store = model_store(settings)
    card, file = store.weights(model)
    twin = quantised_card(card)
    store.refuse_second(twin)
    chosen = EncoderSettings(model=model, kind="plain", engine=settings.encoder.engine)
    encoder = make_encoder(chosen, store.directory)
    crops = np.stack([face.crop for photo in _test_photos() for face in encoder.look(photo.image)[0]])
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{twin.id}.onnx"
        quantise(file, made, card, crops)
        test = add_model(settings, made, twin)
    floats = encoder.embed(crops)
    other = make_encoder(chosen.model_copy(update={"model": twin.id}), store.directory).embed(crops)
    lengths = np.linalg.norm(floats, axis=1) * np.linalg.norm(other, axis=1)
    cosine = float(((floats * other).sum(axis=1) / lengths).min())
    cost = f"cost: cosines of {cosine:.3f} and more to the vectors of the floats"
    return twin, replace(test, seen=(*test.seen, cost))


def use_model(settings: Settings, model: str, kind: str | None) -> None:
    """Have the config file name a recognition model, or a detector; the service uses it once it is restarted.

    Args:
        settings: as the service has them.
        model: the id of an installed model, or `hog` or `cnn`.
        kind: `plain` or `mirror` for a recognition model; None leaves what is configured.

    Raises:
        Unavailable: the model is not installed, or the database is away.
        ModelMismatch: the gallery holds faces of another model.
        InvalidConfig: the config file cannot be changed.
    """
    if model in DLIB_DETECTORS:
        return change_settings("encoder", {"detector": model})
    card, _ = model_store(settings).weights(model)
    if card.task == "detection":
        return change_settings("encoder", {"detector": card.family})
    gallery = _gallery_model(settings)
    if gallery is not None and gallery not in (card.model_id("plain"), card.model_id("mirror")):
        raise ModelMismatch(
            f"The gallery holds faces of {gallery}; vectors of {model} cannot be compared with them. Give "
            f"{model} a collection of its own (facesearch collections create NAME --model "
            f"{card.model_id(settings.encoder.kind)}), or name an empty gallery (data_dir, or "
            "database.database for MySQL) and enrol the photos there again."
        )
    return change_settings("encoder", {"model": model, **({"kind": kind} if kind else {})})


def collections_of(settings: Settings, card: ModelCard) -> list[str]:
    """Return the names of the collections that hold, or are getting, vectors of a recognition network.

    Raises:
        DatabaseUnavailable: the database that knows them is away.
        Conflict: its tables are not of this version.
    """
    if card.task != "recognition" or tables_version(settings)[0] is None:
        return []
    spaces = {card.model_id(kind) for kind in ALL_KINDS}
    with closing(open_image_database(settings, read_only=True)) as database:
        store, at = open_collection_store(database), 0
        names: list[str] = []
        while True:
            page = store.collections(_PAGE, at)
            names += [one.name for one in page.items if {one.model_id, one.next_model_id} & spaces]
            if page.next is None:
                return names
            at = page.next


def calibrate_model(
    settings: Settings, model: str, source: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Fit what a model's distances mean to labelled photos, for both kinds, and store it in its card.

    Faces are found as the settings say. What the fit came to is said line by line, and returned.

    Args:
        source: a folder or CSV file as `labelled_photos` takes it.

    Raises:
        Invalid: the photos are too few or cannot be used, or the model is no recognition network.
        Unavailable: the model is not installed, or its card cannot be written.
    """
    store = model_store(settings)
    card, _ = store.weights(model)
    if card.task != "recognition":
        raise Invalid(f"{model} finds faces; distances are those of a recognition network.")
    photos = labelled_photos(source)
    encoder = settings.encoder.model_copy(update={"model": model})
    by_id = {card.model_id(kind): kind for kind in ALL_KINDS}
    task = EncodeLabelled(
        partial(AGTImage.open, limits=settings.limits), make_encoder, (encoder, store.directory), tuple(by_id)
    )
    pool = worker_pool(settings)
    try:
        faces = encode_labelled(pool, task, photos, partial(_say_progress, say, len(photos)))
    finally:
        pool.close()
    say(f"No face was found in {faces.without_face:,} photos; {faces.unreadable:,} files could not be read.")
    note = f"{len(faces.people):,} photos of {source.name}, largest faces, found by {encoder.detector}."
    fitted = {by_id[i]: fit(vectors, faces.people, note) for i, vectors in faces.embeddings.items()}
    calibrated = with_calibrations(card, fitted)
    store.save_card(calibrated)
    spaces = []
    for kind, calibration in fitted.items():
        tolerance = calibrated.space(kind).tolerance
        measured = asdict(calibration)
        spaces.append({"model": card.model_id(kind), "tolerance": tolerance, "calibration": measured})
        say(f"\n{card.model_id(kind)}: where a search names no tolerance, {tolerance:.4f} counts")
        for line in described(calibration):
            say(line)
    return {"without_face": faces.without_face, "unreadable": faces.unreadable, "spaces": spaces}


def _say_progress(say: Callable[[str], None], photos: int, done: int) -> None:
    if done == photos or done % 1_000 == 0:
        say(f"{done:,} of {photos:,} photos")


class _Trial:
    """Tries the model that a store hands over, and keeps what was seen. Lives for one command."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.result: SelfTest

    def __call__(self, card: ModelCard, directory: Path) -> None:
        self.result = self_test(card, directory, _test_photos(), self._settings.encoder)


def _test_photos() -> list[TestPhoto]:
    """Ours, whatever the service accepts of others."""
    if not TEST_PHOTOS.is_dir():
        raise Unavailable("The test photos are missing: test_images/ belongs beside the package.")
    return [
        TestPhoto(
            None if file.name.startswith("no_face") else file.stem.rpartition("_")[0],
            AGTImage.open(file.read_bytes(), file.name, LimitSettings()),
        )
        for file in sorted(TEST_PHOTOS.glob("*.jpg"))
    ]


def _gallery_model(settings: Settings) -> str | None:
    if tables_version(settings)[0] is None:
        return None
    with closing(open_image_database(settings, read_only=True)) as database:
        return database.gallery_model()
