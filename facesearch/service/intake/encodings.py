"""Reading galleries of face_recognition: files of encodings with the names that go with them."""

import csv
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import Invalid, UnsupportedMedia
from facesearch.records import NO_BOX, Face, NewFace, PhotoInfo
from facesearch.service.intake.names import base_name, name_in

DIMENSION = 128

_ENCODING_KEYS = ("encodings", "embeddings", "vectors", "known_face_encodings")
_NAME_KEYS = ("names", "labels", "persons", "known_face_names")

# What numpy's own arrays and scalars need to be rebuilt, under its old module names and its new ones.
_NUMPY_NAMES = frozenset(
    {
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"))
    }
    | {("numpy", "ndarray"), ("numpy", "dtype")}
    | {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
)


class Encodings(NamedTuple):
    """Vectors, float32 of shape (n, 128), and the name of each."""

    vectors: NDArray[np.float32]
    names: list[str]


def read_encodings(file: Path, names_file: Path | None = None, *, allow_pickle: bool = False) -> Encodings:
    """Read face_recognition's encodings with their names.

    Takes `.npy` (an array of shape (n, 128)) and `.npz` (that array as `encodings`, and the names as
    `names` or in a file), and pickles of a dictionary or a pair of both where `allow_pickle` says so.

    Args:
        file: the encodings.
        names_file: a text file with a name per line, or a CSV file whose column `name` holds them, in
            the order of the encodings; needed where the first file has no names.
        allow_pickle: whether a pickle may be read. Only arrays and plain types are rebuilt from it;
            anything else in it is an error and runs no code.

    Raises:
        UnsupportedMedia: the file is of another kind, or a pickle that was not allowed.
        Invalid: the file cannot be used, with the reason.
    """
    vectors, names = _read(file, allow_pickle)
    if names_file is not None:
        names = read_names(names_file)
    if names is None:
        raise Invalid(f"{file.name} holds no names; give a names file.")
    matrix = _matrix(vectors)
    if len(names) != len(matrix):
        raise Invalid(f"{file.name} has {len(matrix)} encodings, but there are {len(names)} names.")
    return Encodings(matrix, [name_in(str(name)) for name in names])


def faces_of(encodings: Encodings, file_name: str) -> list[NewFace]:
    """Return encodings as faces on their way into the database, without a photo or a box.

    In the place of their photos' bytes, name and vector decide which of them are the same.
    """
    photo = PhotoInfo(base_name(file_name), width=0, height=0)
    return [
        NewFace(name, "", photo, Face(NO_BOX, vector), _digest(name, vector))
        for name, vector in zip(encodings.names, encodings.vectors, strict=True)
    ]


def _digest(name: str, vector: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(vector.astype("<f4").tobytes() + name.encode("utf-8", "replace")).digest()


def read_names(file: Path) -> list[str]:
    """Read one name per line, or the column `name` of a CSV file.

    Raises:
        Invalid: the file cannot be read, or a CSV file has no such column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise Invalid(f"The names file {file.name} cannot be read as UTF-8 text.") from None
    if file.suffix.lower() != ".csv":
        return [line.strip() for line in text.splitlines() if line.strip()]
    rows = list(csv.DictReader(io.StringIO(text)))
    if rows and "name" not in rows[0]:
        raise Invalid(f"The names file {file.name} has no column called name.")
    return [row["name"] or "" for row in rows]


def _read(file: Path, allow_pickle: bool) -> tuple[Any, list[Any] | None]:
    suffix = file.suffix.lower()
    try:
        with file.open("rb") as opened:
            if suffix == ".npy":
                return np.load(opened, allow_pickle=False), None
            if suffix == ".npz":
                with np.load(opened, allow_pickle=False) as arrays:
                    return _pick(dict(arrays), file.name)
            if suffix in (".pickle", ".pkl", ".dat", ".p"):
                if not allow_pickle:
                    raise UnsupportedMedia(f"{file.name} is a pickle; --pickle allows reading it.")
                return _pick(_PlainUnpickler(opened).load(), file.name)
    except Invalid:
        raise
    except FileNotFoundError:
        raise Invalid(f"There is no file {file.name}.") from None
    except Exception:  # numpy and pickle raise almost anything on damaged files
        raise Invalid(f"{file.name} is damaged, or holds more than arrays and plain types.") from None
    raise UnsupportedMedia(f"{file.name} is no .npy, .npz or pickle file.")


def _pick(content: Any, file_name: str) -> tuple[Any, list[Any] | None]:
    """Find the encodings and the names in what people store: a dictionary, or a pair of lists."""
    if isinstance(content, dict):
        vectors = next((content[key] for key in _ENCODING_KEYS if key in content), None)
        names = next((content[key] for key in _NAME_KEYS if key in content), None)
        if vectors is None and "arr_0" in content:
            vectors = content["arr_0"]
        if vectors is None and names is None and content:
            return _named_vectors(content)
    elif isinstance(content, (list, tuple)) and len(content) == 2:
        vectors, names = content
        if len(vectors) and isinstance(vectors[0], str):
            vectors, names = names, vectors
    else:
        vectors, names = content, None
    if vectors is None:
        raise Invalid(f"{file_name} holds nothing called {', '.join(_ENCODING_KEYS[:-1])}.")
    return vectors, None if names is None else list(names)


def _named_vectors(content: dict[Any, Any]) -> tuple[Any, list[Any]]:
    """A dictionary of a name to its encoding, or to a list of encodings."""
    vectors: list[Any] = []
    names: list[Any] = []
    for name, value in content.items():
        rows = np.atleast_2d(np.asarray(value))
        vectors.extend(rows)
        names.extend([name] * len(rows))
    return vectors, names


def _matrix(vectors: Any) -> NDArray[np.float32]:
    try:
        matrix = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError):
        raise Invalid("The encodings are not numbers of one shape.") from None
    if matrix.ndim != 2 or matrix.shape[1] != DIMENSION:
        raise Invalid(f"Encodings have the shape (n, {DIMENSION}); these have {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise Invalid("Some encodings hold numbers that are not finite.")
    return matrix.astype(np.float32)


class _PlainUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and plain types; whatever else a pickle names is refused, not imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _bytes_of_old_pickles
        if (module, name) not in _NUMPY_NAMES:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def _bytes_of_old_pickles(text: str, encoding: str) -> bytes:
    """What pickles below protocol 3 call for bytes; the real function would take any codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(encoding)
    return text.encode("latin1")
