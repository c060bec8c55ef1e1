from pathlib import Path

import pytest

from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder, ONNXEncoder, encoder_of_model
from facesearch.encoders.model_store import ModelStore
from facesearch.errors import ModelMismatch
from tests.unit.encoders.networks import Network, card

SETTINGS = EncoderSettings(model="dlib", kind="mirror")


@pytest.mark.parametrize("kind", ["plain", "mirror"])
def test_vectors_of_every_installed_model_can_be_made_whatever_is_configured(
    tmp_path: Path, kind: str
) -> None:
    ModelStore(tmp_path).add(Network().write(tmp_path / "drawn.onnx"), card())
    drawn = encoder_of_model(f"drawn-{kind}", SETTINGS, tmp_path)
    assert isinstance(drawn, ONNXEncoder)
    dlib = encoder_of_model(
        f"dlib-resnet-v1-{kind}", SETTINGS.model_copy(update={"model": "drawn"}), tmp_path
    )
    assert isinstance(dlib, AGTEncoder)
    assert [drawn.model_id, dlib.model_id] == [f"drawn-{kind}", f"dlib-resnet-v1-{kind}"]


@pytest.mark.parametrize("model_id", ["", "drawn", "drawn-plain", "dlib", "centerface-plain", "Zoë/../x"])
def test_vectors_of_no_installed_model_cannot(tmp_path: Path, model_id: str) -> None:
    ModelStore(tmp_path).add(Network().write(tmp_path / "other.onnx"), card(id="other"))
    made = "dlib-resnet-v1-mirror, dlib-resnet-v1-plain, other-mirror, other-plain"
    with pytest.raises(ModelMismatch, match=f"They make those of: {made}[.]"):
        encoder_of_model(model_id, SETTINGS, tmp_path)
