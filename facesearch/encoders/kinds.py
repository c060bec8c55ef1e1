"""The vector spaces that face_recognition's network gives, and how each is made of crops.

`plain` is face_recognition's own vector. `mirror` adds the vectors of a crop and of its mirror image and
brings the sum to one length, which confuses far fewer strangers (docs/decisions/0008). Their
distances mean different things, so each has a model id of its own and they are never compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import ModelMismatch

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# The length of a `mirror` vector: with it, 0.6 is the most accurate tolerance on pairs_dev.csv of the
# labelled photos, as it is for `plain`. Fitted by benchmarks/verify.py, which prints it.
MIRROR_LENGTH = 1.42


@dataclass(frozen=True)
class Kind:
    """One vector space: its name, and how the network's vectors become its own."""

    model_id: str
    embed: Callable[[Embed, NDArray[np.uint8]], NDArray[np.float32]]


def _plain(network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return network(crops)


def _mirror(network: Embed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Both crops of a face go through the network in one batch."""
    both = network(np.concatenate([crops, crops[:, :, ::-1]])).astype(np.float64)
    sums = both[: len(crops)] + both[len(crops) :]
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    vectors: NDArray[np.float32] = (sums * (MIRROR_LENGTH / lengths)).astype(np.float32)
    return vectors


KINDS: Mapping[str, Kind] = {
    "plain": Kind("dlib-resnet-v1-plain", _plain),
    "mirror": Kind("dlib-resnet-v1-mirror", _mirror),
}


def kind_of(model_id: str) -> Kind:
    """Return the kind with that model id.

    Raises:
        ModelMismatch: this network makes no such space.
    """
    for kind in KINDS.values():
        if kind.model_id == model_id:
            return kind
    raise ModelMismatch(f"This encoder makes no vectors of {model_id}.")
