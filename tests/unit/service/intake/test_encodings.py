import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.errors import Invalid, UnsupportedMedia
from facesearch.records import NO_BOX
from facesearch.service.intake.encodings import Encodings, faces_of, read_encodings

NAMES = ["Ana", "Zoë", "王小明"]


@pytest.fixture
def vectors() -> NDArray[np.float64]:
    return np.random.default_rng(7).normal(size=(3, 128))


@pytest.fixture
def names_file(tmp_path: Path) -> Path:
    file = tmp_path / "names.txt"
    file.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return file


def pickled(folder: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    file = folder / "gallery.pickle"
    file.write_bytes(pickle.dumps(content, protocol))
    return file


def assert_read(read: Any, vectors: NDArray[np.float64]) -> None:
    assert read.names == NAMES
    assert read.vectors.dtype == np.float32
    assert np.array_equal(read.vectors, vectors.astype(np.float32))


def test_an_array_is_read_with_a_names_file(
    tmp_path: Path, vectors: NDArray[np.float64], names_file: Path
) -> None:
    file = tmp_path / "gallery.npy"
    np.save(file, vectors)
    assert_read(read_encodings(file, names_file), vectors)


def test_a_csv_names_file_is_read_by_its_column(tmp_path: Path, vectors: NDArray[np.float64]) -> None:
    file, names = tmp_path / "gallery.npy", tmp_path / "names.csv"
    np.save(file, vectors)
    names.write_text("id,name\n" + "\n".join(f"{n},{name}" for n, name in enumerate(NAMES)), encoding="utf-8")
    assert_read(read_encodings(file, names), vectors)
    names.write_text("id,who\n1,Ana\n2,Ben\n3,Cy\n", encoding="utf-8")
    with pytest.raises(Invalid, match="no column called name"):
        read_encodings(file, names)


def test_arrays_with_names_need_no_names_file(tmp_path: Path, vectors: NDArray[np.float64]) -> None:
    file = tmp_path / "gallery.npz"
    np.savez(file, encodings=vectors, names=np.array(NAMES))
    assert_read(read_encodings(file), vectors)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_tutorials_are_read_where_allowed(
    tmp_path: Path, vectors: NDArray[np.float64], protocol: int
) -> None:
    for content in (
        {"encodings": list(vectors), "names": NAMES},
        (list(vectors), NAMES),
        [NAMES, list(vectors)],
        {name: [vector] for name, vector in zip(NAMES, vectors, strict=True)},
        {"encodings": [vector.tolist() for vector in vectors], "names": tuple(NAMES)},
    ):
        assert_read(read_encodings(pickled(tmp_path, content, protocol), allow_pickle=True), vectors)


def test_a_pickle_needs_the_flag(tmp_path: Path, vectors: NDArray[np.float64]) -> None:
    file = pickled(tmp_path, {"encodings": list(vectors), "names": NAMES})
    with pytest.raises(UnsupportedMedia, match="--pickle"):
        read_encodings(file)


class Malice:
    """What a hostile pickle would do when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_pickle_that_calls_anything_is_refused_and_runs_nothing(tmp_path: Path, hidden: bool) -> None:
    mark = tmp_path / "ran"
    content: Any = {"encodings": [Malice(mark)], "names": ["Ana"]} if hidden else Malice(mark)
    with pytest.raises(Invalid, match="more than arrays"):
        read_encodings(pickled(tmp_path, content), allow_pickle=True)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["numpy.f2py.diagnose.run", "builtins.eval", "os.system", "numpy.load"])
def test_a_pickle_may_name_nothing_but_arrays(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.rpartition(".")
    file = tmp_path / "gallery.pkl"
    file.write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(Invalid, match="more than arrays"):
        read_encodings(file, allow_pickle=True)


def test_an_array_of_objects_is_refused(tmp_path: Path, names_file: Path) -> None:
    file = tmp_path / "gallery.npy"
    np.save(file, np.array([{}, {}, {}]), allow_pickle=True)
    with pytest.raises(Invalid, match="more than arrays"):
        read_encodings(file, names_file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((3, 64)), "shape"),
        (np.zeros(128), "shape"),
        (np.full((3, 128), np.nan), "not finite"),
        (np.zeros((2, 128)), "2 encodings, but there are 3 names"),
        (np.array([["a"] * 128] * 3), "not numbers"),
    ],
)
def test_encodings_that_are_none_are_refused_with_the_reason(
    tmp_path: Path, names_file: Path, content: NDArray[Any], reason: str
) -> None:
    file = tmp_path / "gallery.npy"
    np.save(file, content)
    with pytest.raises(Invalid, match=reason):
        read_encodings(file, names_file)


def test_missing_names_and_unknown_content_are_said(tmp_path: Path, vectors: NDArray[np.float64]) -> None:
    file = tmp_path / "gallery.npy"
    np.save(file, vectors)
    with pytest.raises(Invalid, match="no names"):
        read_encodings(file)
    np.savez(tmp_path / "other.npz", pictures=vectors, names=np.array(NAMES))
    with pytest.raises(Invalid, match="nothing called encodings"):
        read_encodings(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:200])
    with pytest.raises(Invalid, match="damaged"):
        read_encodings(tmp_path / "cut.npz")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnsupportedMedia):
        read_encodings(tmp_path / "notes.txt")
    with pytest.raises(Invalid, match="no file"):
        read_encodings(tmp_path / "absent.npy")


def test_imported_faces_have_a_name_and_no_box(tmp_path: Path, vectors: NDArray[np.float64]) -> None:
    file = tmp_path / "gallery.npz"
    np.savez(file, encodings=vectors, names=np.array(NAMES))
    faces = faces_of(read_encodings(file), file.name)
    assert [face.person_name for face in faces] == NAMES
    assert faces[0].face.box == NO_BOX
    assert faces[0].photo.file_name == "gallery.npz"


def test_names_of_encodings_are_spelled_as_those_of_photos_are(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text(" Zoe\u0308 \nAna\x1b[2J\n\u202eBo \n", encoding="utf-8")
    file = tmp_path / "gallery.npy"
    np.save(file, np.eye(3, 128))
    assert read_encodings(file, names).names == ["Zo\u00eb", "Ana[2J", "Bo"]


def test_encodings_are_the_same_by_their_name_and_their_vector(vectors: NDArray[np.float64]) -> None:
    two = np.stack([vectors[0], vectors[0], vectors[1], vectors[0]]).astype(np.float32)
    faces = faces_of(Encodings(two, ["Ana", "Bo", "Ana", "Ana"]), "x.npz")
    digests = [face.photo_sha256 for face in faces]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3
    assert {len(digest or b"") for digest in digests} == {32}
