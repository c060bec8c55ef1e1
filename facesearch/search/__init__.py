"""Search: top-k, the matrix that all processes of a host share, and the exact and the approximate index."""

from facesearch.search.exact import ExactIndex
from facesearch.search.hnsw import HNSWIndex

__all__ = ["ExactIndex", "HNSWIndex"]
