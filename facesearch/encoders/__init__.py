"""Encoders: a photo's faces as boxes and embeddings."""

from facesearch.encoders.agt import AGTEncoder
from facesearch.encoders.kinds import KINDS

__all__ = ["KINDS", "AGTEncoder"]
