"""Search: top-k, the matrix that all processes of a host share, and the exact index on it."""

from facesearch.search.exact import ExactIndex

__all__ = ["ExactIndex"]
