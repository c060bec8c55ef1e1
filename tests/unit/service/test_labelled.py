import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.errors import Invalid, Unavailable
from facesearch.interfaces import ImageEncoder
from facesearch.records import Outcome, Wanted
from facesearch.service.labelled import (
    EncodeLabelled,
    LabelledFaces,
    LabelledPhoto,
    encode_labelled,
    labelled_photos,
)
from facesearch.workers import InlinePool
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    GREEN,
    NEGATIVES,
    RED,
    FakeKinds,
    LosingPool,
    open_image,
    photo,
)


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def people(source: Path) -> dict[str, str]:
    return {found.path.name: found.person for found in labelled_photos(source)}


def encode(
    photos: list[LabelledPhoto],
    build: Callable[..., ImageEncoder] = FakeKinds,
    pool: InlinePool | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> LabelledFaces:
    task = EncodeLabelled(open_image, build, (), (COLOURS, NEGATIVES))
    return encode_labelled(pool or InlinePool(), task, photos, progress)


def test_a_folder_names_people_as_a_bulk_does(tmp_path: Path) -> None:
    names = ["Ada_0001.JPG", "Ada_0002.png", "Bo/x.jpeg", "deep/er/Cy/IMG_0001.jpg", "Di/Ed_0007.webp"]
    lay_out(tmp_path, dict.fromkeys(names, b""))
    assert people(tmp_path) == {
        "Ada_0001.JPG": "Ada",
        "Ada_0002.png": "Ada",
        "x.jpeg": "Bo",
        "IMG_0001.jpg": "Cy",
        "Ed_0007.webp": "Ed",
    }


def test_other_files_of_a_folder_are_no_photos(tmp_path: Path) -> None:
    lay_out(tmp_path, {"notes.txt": b"", "Ada_0001.jpg": b"", "list.csv": b""})
    (tmp_path / "folder.jpg").mkdir()
    assert list(people(tmp_path)) == ["Ada_0001.jpg"]


def test_a_list_names_people_and_where_their_photos_lie(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "\ufeffpath,role,identity\na/1.jpg,x,Ada\n2.jpg,x,Zoë\n,x,Bo\n3.jpg,x,\n", encoding="utf-8"
    )
    assert labelled_photos(file) == [
        LabelledPhoto(tmp_path / "a" / "1.jpg", "Ada"),
        LabelledPhoto(tmp_path / "2.jpg", "Zoë"),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"file,name\n1.jpg,Ada\n", "has no columns `path` and `identity`"),
        (b"", "has no columns"),
        (b"path,identity\n", "holds no photos"),
        (b"\xff\xfe\x00", "cannot be read as a folder of photos or a CSV file"),
        (b'path,identity\n"' + b"x" * 200_000 + b'",Ada\n', "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(Invalid, match=f"^list.csv {reason}"):
        labelled_photos(tmp_path / "list.csv")


@pytest.mark.parametrize("name", ["empty", "nothing"])
def test_a_folder_without_photos_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match=f"^{name} "):
        labelled_photos(tmp_path / name)


def test_the_largest_face_of_each_photo_is_encoded_in_every_space(tmp_path: Path) -> None:
    lay_out(tmp_path, {"Ada_0001.png": photo((GREEN, 9), (RED, 20)), "Bo_0001.png": photo((GREEN, 9))})
    encoder = FakeKinds()
    faces = encode(labelled_photos(tmp_path), lambda: encoder)
    assert faces.people == ["Ada", "Bo"]
    assert np.round(faces.embeddings[COLOURS] * 255).tolist() == [[200, 0, 0], [0, 200, 0]]
    assert np.allclose(faces.embeddings[NEGATIVES], 1 - faces.embeddings[COLOURS])
    assert encoder.wishes == [Wanted(only_largest=True)] * 2


def test_photos_without_a_face_and_files_that_are_none_are_counted(tmp_path: Path) -> None:
    files = {"A_0001.png": photo((RED, 9)), "B_0001.png": photo((BLACK, 9)), "C_0001.png": b"notes"}
    lay_out(tmp_path, files)
    photos = [*labelled_photos(tmp_path), LabelledPhoto(tmp_path / "gone.png", "Di")]
    photos.append(LabelledPhoto(tmp_path / "nul\0.png", "Ed"))
    faces = encode(photos)
    assert (faces.people, faces.without_face, faces.unreadable) == (["A"], 1, 3)


def test_without_any_face_there_are_no_embeddings(tmp_path: Path) -> None:
    faces = encode([LabelledPhoto(tmp_path / "gone.png", "Di")])
    assert [len(vectors) for vectors in faces.embeddings.values()] == [0, 0]


def test_progress_is_told_and_a_group_whose_process_died_costs_only_itself(tmp_path: Path) -> None:
    lay_out(tmp_path, {f"P{i:02}_0001.png": photo((RED, 9)) for i in range(20)})
    photos = labelled_photos(tmp_path)
    told: list[int] = []
    faces = encode(photos, pool=LosingPool(lambda paths: photos[9].path in paths), progress=told.append)
    assert told == [8, 16, 20]
    assert faces.people == [photo.person for photo in photos[:8] + photos[16:]]
    assert faces.unreadable == 8


def test_an_encoder_that_cannot_be_used_ends_the_work(tmp_path: Path) -> None:
    def fail() -> ImageEncoder:
        raise Unavailable("The model is damaged.")

    class Passing(InlinePool):
        def map(self, task: Callable[[Any], Any], items: Any) -> Any:
            for item in items:
                try:
                    yield Outcome(task(item))
                except Unavailable as error:
                    yield Outcome(error=error)

    with pytest.raises(Unavailable, match="damaged"):
        encode([LabelledPhoto(tmp_path / "a.png", "Ada")], fail, Passing())


def test_the_task_travels_to_other_processes(tmp_path: Path) -> None:
    lay_out(tmp_path, {"Ada_0001.png": photo((RED, 9))})
    task = pickle.loads(pickle.dumps(EncodeLabelled(open_image, FakeKinds, (), (COLOURS,))))
    (outcome,) = task([tmp_path / "Ada_0001.png"])
    assert len(outcome.unwrap()) == 1
