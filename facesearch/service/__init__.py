"""The use cases: what the service does with a database, an encoder, an index and a pool."""

from facesearch.service.api import AGTAPI
from facesearch.service.encode import EncodePhoto

__all__ = ["AGTAPI", "EncodePhoto"]
