"""Encoders: a photo's faces as boxes and embeddings."""

from pathlib import Path

from facesearch.config import EncoderSettings
from facesearch.encoders.agt import AGTEncoder
from facesearch.encoders.kinds import KINDS
from facesearch.encoders.onnx_encoder import ONNXEncoder
from facesearch.interfaces import ImageEncoder

__all__ = ["KINDS", "AGTEncoder", "ONNXEncoder", "make_encoder"]


def make_encoder(settings: EncoderSettings, directory: Path) -> ImageEncoder:
    """Make the encoder of the configured model; it loads nothing yet.

    Args:
        settings: `model` is `dlib`, or the id of an installed model.
        directory: the data folder's `models`.

    Raises:
        Unavailable: the model is not installed.
        InvalidConfig: it is no recognition network.
    """
    return (AGTEncoder if settings.model == "dlib" else ONNXEncoder)(settings, directory)
