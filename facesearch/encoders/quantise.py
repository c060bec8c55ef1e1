"""Makes a recognition network of 8-bit integers out of one of floats.

Weights get a scale for each channel, and what flows between the layers one that is measured on faces
beforehand. Scales that are found while the network runs (ONNX Runtime's dynamic quantisation) were measured
too: slower than floats, four times as far from their vectors, and one face's would depend on its neighbours
(`benchmarks.recognition int8`).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from facesearch.encoders.cards import ModelCard
from facesearch.encoders.onnx_embedder import fed
from facesearch.errors import Invalid

SUFFIX = "-int8"


def quantised_card(card: ModelCard) -> ModelCard:
    """Return the card of a network's 8-bit twin, a model of its own.

    Its vectors are not those of the floats: what was measured of these does not hold for them.

    Raises:
        Invalid: the model is no network that `quantise` takes, or its id is too long already.
    """
    if card.family != "arcface":
        raise Invalid(f"{card.id} cannot be quantised: it is no recognition network of an ONNX file.")
    changes = {
        "id": f"{card.id}{SUFFIX}",
        "name": f"{card.name}, in 8-bit integers",
        "source": {"document": f"the card of {card.id}", "obtain": f"facesearch models quantise {card.id}"},
    }
    try:
        return ModelCard.model_validate(
            card.model_dump(exclude={"sha256", "bytes", "aliases", "tried", "spaces"}) | changes
        )
    except ValidationError:
        raise Invalid(f"The id {card.id} is too long to get {SUFFIX} behind it.") from None


def quantise(file: Path, out: Path, card: ModelCard, crops: NDArray[np.uint8]) -> None:
    """Write the 8-bit twin of a network; about a third of the bytes, some seconds.

    Args:
        file: the network of floats.
        out: where the other is written.
        card: of `file`.
        crops: aligned faces on which the ranges between the layers are measured, uint8 of shape (n, height,
            width, 3), RGB. Each is taken with its mirror image.

    Raises:
        Invalid: ONNX Runtime's quantiser cannot do it.
    """
    if card.input is None:
        raise Invalid(f"{card.id} is no recognition network that could be quantised.")
    # Not at import: onnx and the quantiser are of no use to the service.
    from onnxruntime import InferenceSession, quantization  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
            (taken,) = InferenceSession(str(prepared), providers=["CPUExecutionProvider"]).get_inputs()
            if taken.type != "tensor(float)":
                raise Invalid(f"{card.id} cannot be quantised: its network takes {taken.type}.")
            rows = taken.shape[0] if isinstance(taken.shape[0], int) else 1
            pictures = [np.repeat(one[None], rows, axis=0) for crop in crops for one in (crop, crop[:, ::-1])]
            feeds = iter([{taken.name: fed(some, card.input, np.float32)} for some in pictures])
            quantization.quantize_static(
                str(prepared),
                str(out),
                _reader(feeds),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
    except Invalid:
        raise
    except Exception as error:  # the quantiser raises whatever happens inside
        raise Invalid(f"{card.id} cannot be quantised ({type(error).__name__}).") from None


def _reader(feeds: Iterator[dict[str, NDArray[np.float32]]]) -> object:
    from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it carries no types
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(feeds, None)

    return Reader()
