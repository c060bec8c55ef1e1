"""Encoders: a photo's faces as boxes and embeddings."""

from pathlib import Path

from facesearch.config import EncoderSettings
from facesearch.encoders.agt import AGTEncoder
from facesearch.encoders.cards import ALL_KINDS
from facesearch.encoders.kinds import KINDS
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_encoder import ONNXEncoder
from facesearch.encoders.onnx_session import load_onnxruntime
from facesearch.errors import ModelMismatch
from facesearch.interfaces import ImageEncoder

__all__ = ["KINDS", "AGTEncoder", "ONNXEncoder", "encoder_of_model", "load_onnxruntime", "make_encoder"]


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


def encoder_of_model(model_id: str, settings: EncoderSettings, directory: Path) -> ImageEncoder:
    """Make the encoder of any installed model's vector space; faces are found as the settings say.

    Args:
        model_id: the name of the vector space.
        settings, directory: as for `make_encoder`.

    Raises:
        ModelMismatch: no installed model makes such vectors.
    """
    store = ModelStore(directory)
    cards = {"dlib": store.card("dlib"), **store.installed()}
    made: list[str] = []
    for card in cards.values():
        for kind in ALL_KINDS if card.task == "recognition" else ():
            if card.model_id(kind) == model_id:
                return make_encoder(settings.model_copy(update={"model": card.id, "kind": kind}), directory)
            made.append(card.model_id(kind))
    known = ", ".join(sorted(made))
    raise ModelMismatch(f"No installed model makes vectors of {model_id}. They make those of: {known}.")
