"""Who the faces of a photo are, and which of them go into the gallery."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from facesearch.config import QualitySettings
from facesearch.errors import FaceRefused, NoFaceFound, SeveralFaces
from facesearch.records import EncodedPhoto, NewFace
from facesearch.service.names import person_and_version
from facesearch.service.photo_source import PhotoSource
from facesearch.service.refusal import check_quality

LARGEST, ALL, SINGLE = FACES = ("largest", "all", "single")


@dataclass(frozen=True, slots=True)
class Naming:
    """What is said of the faces of one photo, by its path or by an importer's list."""

    person_name: str
    version: str
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def by_path(cls, path: str, only_top_folder: str | None = None) -> "Naming":
        """Name a photo's faces by where the photo lies."""
        return cls(*person_and_version(path, only_top_folder))

    @classmethod
    def in_source(cls, path: str, source: PhotoSource) -> "Naming":
        """Name a photo's faces as the source's list does, and where it does not, by where the photo lies."""
        by_path = cls.by_path(path, source.only_top_folder)
        listed = source.people.of(path) if source.people else None
        if listed is None:
            return by_path
        name = listed.person or by_path.person_name
        return cls(name, by_path.version, listed.external_id, listed.metadata)


def new_faces(
    naming: Naming, encoded: EncodedPhoto, sha256: bytes, quality: QualitySettings, faces: str = LARGEST
) -> list[NewFace]:
    """Return the faces of an encoded photo that are to be stored, at least one.

    All of them carry the photo's name. Of `all`, those below a limit of quality are left out.

    Args:
        sha256: the digest of the photo's bytes.
        faces: `largest`, which the encoder was asked for, `all` or `single`.

    Raises:
        NoFaceFound: the photo has no face.
        SeveralFaces: a single one was asked for.
        FaceRefused: every face is below a limit.
    """
    if not encoded.faces:
        raise NoFaceFound
    if faces == SINGLE and encoded.faces_found > 1:
        raise SeveralFaces(f"The photo has {encoded.faces_found} faces, and a single one was asked for.")
    good, refusal = [], None
    for face in encoded.faces:
        try:
            check_quality(face, quality)
            good.append(face)
        except FaceRefused as error:
            refusal = refusal or error
    if not good and refusal is not None:
        raise refusal
    return [
        NewFace(
            naming.person_name,
            naming.version,
            encoded.info,
            face,
            sha256,
            naming.external_id,
            naming.metadata,
        )
        for face in good
    ]
