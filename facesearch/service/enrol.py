"""Which faces of a photo go into the gallery, and with what."""

import hashlib
from dataclasses import dataclass

from facesearch.config import QualitySettings
from facesearch.errors import FaceRefused, NoFaceFound, SeveralFaces
from facesearch.records import EncodedPhoto, NewFace
from facesearch.service.intake.naming import Naming
from facesearch.service.refusal import check_quality

LARGEST, ALL, SINGLE = FACES = ("largest", "all", "single")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a photo's file is known again by: the SHA-256 of its bytes, and their number."""

    sha256: bytes
    size: int

    @classmethod
    def of(cls, data: bytes) -> "Fingerprint":
        """Take that of a file."""
        return cls(hashlib.sha256(data).digest(), len(data))


def new_faces(
    naming: Naming, encoded: EncodedPhoto, file: Fingerprint, quality: QualitySettings, faces: str = LARGEST
) -> list[NewFace]:
    """Return the faces of an encoded photo that are to be stored, at least one.

    All of them carry the photo's name. Of `all`, those below a limit of quality are left out.

    Args:
        file: that of the photo.
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
            file.sha256,
            naming.external_id,
            naming.metadata,
            file.size,
            naming.person_id,
        )
        for face in good
    ]
