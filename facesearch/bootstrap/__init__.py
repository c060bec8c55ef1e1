"""The switchboard: the only package that names concrete classes."""

from facesearch.bootstrap.imports import folder_to_send, import_encodings, import_photos
from facesearch.bootstrap.models import (
    add_model,
    calibrate_model,
    check_model,
    collections_of,
    fetch_model,
    model_store,
    quantise_model,
    use_model,
)
from facesearch.bootstrap.service import build_api, make_app
from facesearch.encoders.cards import ModelCard
from facesearch.encoders.fetch import check_fetchable
from facesearch.encoders.self_test import SelfTest
from facesearch.service.intake.folder_parts import Part

__all__ = [
    "ModelCard",
    "Part",
    "SelfTest",
    "add_model",
    "build_api",
    "calibrate_model",
    "check_fetchable",
    "check_model",
    "collections_of",
    "fetch_model",
    "folder_to_send",
    "import_encodings",
    "import_photos",
    "make_app",
    "model_store",
    "quantise_model",
    "use_model",
]
