"""The use cases: what the service does with a database, an encoder, an index and a pool."""

from facesearch.service.api import AGTAPI

__all__ = ["AGTAPI"]
