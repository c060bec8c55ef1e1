"""Encoders: a photo's faces as boxes and embeddings."""

from facesearch.encoders.agt import AGTEncoder

__all__ = ["AGTEncoder"]
