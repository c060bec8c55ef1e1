import pickle
from dataclasses import replace
from typing import Any

import pytest

from facesearch.errors import BrokenImage, ModelMismatch, NotAnImage
from facesearch.interfaces import ImageEncoder
from facesearch.records import CropStyle, PhotoFile, Wanted
from facesearch.service import EncodePhotos
from facesearch.service.encode import with_crops
from tests.fakes import FakeEncoder
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    GREEN,
    NEGATIVES,
    RED,
    FakeKinds,
    open_image,
    photo,
)

ONE = PhotoFile("one.png", photo((RED, 20)))
TWO = PhotoFile("two.png", photo((RED, 10), (GREEN, 20)))
NOBODY = PhotoFile("nobody.png", photo((BLACK, 10)))
NOTES = PhotoFile("notes.png", b"notes")
CUT = PhotoFile("cut.png", ONE.data[:60])

built: list[tuple[Any, ...]] = []


def build(*arguments: Any) -> ImageEncoder:
    built.append(arguments)
    return FakeKinds()


def test_the_largest_face_of_each_photo_is_encoded_in_one_batch() -> None:
    encoder = FakeKinds()
    one, nobody, two = EncodePhotos(open_image, lambda: encoder)([ONE, NOBODY, TWO])
    assert encoder.batches == [2]
    assert encoder.wishes == [Wanted(only_largest=True)] * 3
    photos = [outcome.unwrap() for outcome in (one, nobody, two)]
    assert [encoded.info.file_name for encoded in photos] == ["one.png", "nobody.png", "two.png"]
    assert [encoded.faces_found for encoded in photos] == [1, 0, 2]
    vectors = [[round(float(v) * 255) for v in f.embedding] for e in photos for f in e.faces]
    assert vectors == [[200, 0, 0], [0, 200, 0]]
    assert [face.quality and face.quality.size_px for e in photos for face in e.faces] == [20, 20]


def test_a_photo_that_cannot_be_used_costs_only_itself() -> None:
    outcomes = EncodePhotos(open_image, FakeKinds)([NOTES, ONE, CUT, TWO])
    assert [type(outcome.error) for outcome in outcomes] == [NotAnImage, type(None), BrokenImage, type(None)]
    assert [len(outcome.unwrap().faces) for outcome in outcomes[1::2]] == [1, 1]


def test_the_network_does_not_run_where_nobody_was_found() -> None:
    encoder = FakeKinds()
    EncodePhotos(open_image, lambda: encoder)([NOBODY, NOTES])
    assert encoder.batches == []


def test_no_photos_give_no_outcomes() -> None:
    assert EncodePhotos(open_image, FakeKinds)([]) == []


@pytest.mark.parametrize(("model_id", "red"), [(None, 200), (COLOURS, 200), (NEGATIVES, 55)])
def test_photos_are_encoded_for_the_model_that_is_asked_for(model_id: str | None, red: int) -> None:
    (outcome,) = EncodePhotos(open_image, FakeKinds, model_id=model_id)([ONE])
    assert round(float(outcome.unwrap().faces[0].embedding[0]) * 255) == red


def test_a_model_that_the_encoder_does_not_make_fails_the_task() -> None:
    with pytest.raises(ModelMismatch):
        EncodePhotos(open_image, FakeKinds, model_id="unknown")([ONE])


def test_a_process_builds_its_encoder_at_the_first_photo_and_keeps_it() -> None:
    built.clear()
    task = EncodePhotos(open_image, build, ("settings", 1))
    copies = [task, pickle.loads(pickle.dumps(task)), EncodePhotos(open_image, build, ("settings", 1))]
    assert built == []
    for copy in copies:
        copy([ONE])
    EncodePhotos(open_image, build, ("settings", 1), model_id=NEGATIVES)([ONE])
    assert built == [("settings", 1)]


class Another(FakeEncoder):
    model_id = "another"


def build_other(model_id: str, *arguments: Any) -> ImageEncoder:
    if model_id != "another":
        raise ModelMismatch
    built.append((model_id, *arguments))
    return Another()


def test_what_the_first_encoder_does_not_make_another_does_and_is_built_once() -> None:
    built.clear()
    task = EncodePhotos(open_image, build, ("another's settings",), "another", build_other=build_other)
    for copy in (task, pickle.loads(pickle.dumps(task))):
        assert copy.encoder().model_id == "another"
        assert copy([ONE])[0].unwrap().faces_found == 1
    assert built == [("another's settings",), ("another", "another's settings")]
    with pytest.raises(ModelMismatch):
        replace(task, model_id="unknown").encoder()
    assert replace(task, model_id=NEGATIVES).encoder().model_id == NEGATIVES


def test_crops_are_made_where_they_are_to_be_kept() -> None:
    task = EncodePhotos(open_image, FakeKinds, wanted=Wanted(), crop_style=CropStyle(64))
    kept, nobody = task([TWO, NOBODY])
    crops = [face.crop for face in kept.unwrap().faces]
    assert [crop and crop.media_type for crop in crops] == ["image/jpeg", "image/jpeg"]
    middles = [open_image(crop.data, "").pixels[32, 32] for crop in crops if crop]
    assert [[round(int(level), -2) for level in middle] for middle in middles] == [[200, 0, 0], [0, 200, 0]]
    assert nobody.unwrap().faces == ()
    assert [face.crop for o in EncodePhotos(open_image, FakeKinds)([TWO]) for face in o.unwrap().faces] == [
        None
    ]


def test_a_photo_that_was_encoded_gets_the_crops_of_its_faces() -> None:
    image = open_image(TWO.data, "two.png")
    encoded = FakeKinds().encode(image)
    assert with_crops(image, encoded, None) is encoded
    cropped = with_crops(image, encoded, CropStyle(64, "webp"))
    (pooled,) = EncodePhotos(open_image, FakeKinds, wanted=Wanted(), crop_style=CropStyle(64, "webp"))([TWO])
    assert [face.crop for face in cropped.faces] == [face.crop for face in pooled.unwrap().faces]
    assert cropped.faces[0].crop is not None
