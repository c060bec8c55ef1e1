"""The use cases: what the service does with a database, an encoder, an index and a pool."""

from facesearch.service.api import AGTAPI
from facesearch.service.encode import EncodePhotos
from facesearch.service.intake.encodings import faces_of, read_encodings
from facesearch.service.keys.access import KeyAccess

__all__ = ["AGTAPI", "EncodePhotos", "KeyAccess", "faces_of", "read_encodings"]
