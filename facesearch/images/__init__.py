"""Photos: bytes become upright RGB pixels, within limits, or an error that says why not."""

from facesearch.images.agt import AGTImage

__all__ = ["AGTImage"]
