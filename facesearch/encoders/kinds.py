"""The vector spaces that a network gives, and how each is made of crops.

`plain` is the network's own vector. `mirror` adds the vectors of a crop and of its mirror image, which
confuses far fewer strangers (docs/decisions/0008). Their distances mean different things, so each has a model
id of its own and they are never compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.cards import Kind as CardKind
from facesearch.encoders.cards import ModelCard, Output
from facesearch.errors import ModelMismatch

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# The length of dlib's `mirror` vectors: with it, 0.6 is the most accurate tolerance on pairs_dev.csv of the
# labelled photos, as it is for `plain`. Fitted by benchmarks/verify.py, which prints it.
MIRROR_LENGTH = 1.42


@dataclass(frozen=True)
class Kind:
    """One vector space: its kind and name, and how the network's vectors become its own."""

    name: CardKind
    model_id: str
    embed: Callable[[Embed, NDArray[np.uint8]], NDArray[np.float32]]


def _plain(network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return network(crops)


def _sums(network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Both crops of a face go through the network in one batch."""
    both = network(np.concatenate([crops, crops[:, :, ::-1]])).astype(np.float64)
    sums: NDArray[np.float64] = both[: len(crops)] + both[len(crops) :]
    return sums


def _of_length(vectors: NDArray[np.float64], length: float) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (vectors * (length / lengths)).astype(np.float32)
    return scaled


def _mirror(network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _of_length(_sums(network, crops), MIRROR_LENGTH)


# face_recognition's vectors are compared as the network gives them.
KINDS: Mapping[str, Kind] = {
    "plain": Kind("plain", "dlib-resnet-v1-plain", _plain),
    "mirror": Kind("mirror", "dlib-resnet-v1-mirror", _mirror),
}


def kinds_of(card: ModelCard, output: Output) -> Mapping[str, Kind]:
    """Return the vector spaces of a network that a card describes.

    Vectors compared by cosine get length 1, so that their Euclidean distance d stands for the cosine
    1 - d^2/2. Others are divided by the card's divisor; `mirror` is then the middle of both.
    """
    return {
        "plain": Kind("plain", card.model_id("plain"), partial(_plain_of, output)),
        "mirror": Kind("mirror", card.model_id("mirror"), partial(_mirror_of, output)),
    }


def _plain_of(output: Output, network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _compared(output, network(crops).astype(np.float64))


def _mirror_of(output: Output, network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _compared(output, _sums(network, crops) / 2)


def _compared(output: Output, vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    if output.metric == "cosine":
        return _of_length(vectors, 1.0)
    return (vectors / output.divisor).astype(np.float32)


def kind_of(model_id: str, kinds: Mapping[str, Kind] = KINDS) -> Kind:
    """Return the kind with that model id.

    Raises:
        ModelMismatch: the network makes no such space.
    """
    for kind in kinds.values():
        if kind.model_id == model_id:
            return kind
    raise ModelMismatch(f"This encoder makes no vectors of {model_id}.")
