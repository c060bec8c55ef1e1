"""The encoders of every model that the service can make vectors of, each made when it is first needed."""

import threading
from collections.abc import Callable

from facesearch.errors import ModelMismatch
from facesearch.interfaces import ImageEncoder

MakeEncoder = Callable[[str], ImageEncoder]


def no_others(model_id: str) -> ImageEncoder:
    """What makes the encoders of other networks where there are none."""
    raise ModelMismatch(f"This service makes no vectors of {model_id}.")


class Encoders:
    """Lives as long as its process, and keeps what it has made. Any thread may call it.

    Args:
        configured: that of collections without a model.
        make_other: makes the encoder of another network's model id, or raises ModelMismatch.
    """

    def __init__(self, configured: ImageEncoder, make_other: MakeEncoder = no_others) -> None:
        self.configured = configured
        self._make_other = make_other
        self._lock = threading.Lock()
        self._made = {configured.model_id: configured}

    def of(self, model_id: str | None) -> ImageEncoder:
        """Return the encoder of a model, and of none the configured one.

        Raises:
            ModelMismatch: this service makes no such vectors.
        """
        if model_id is None:
            return self.configured
        with self._lock:
            if model_id not in self._made:
                self._made[model_id] = self._make(model_id)
            return self._made[model_id]

    def _make(self, model_id: str) -> ImageEncoder:
        """Networks that are loaded already are shared."""
        for encoder in self._made.values():
            try:
                return encoder.for_model(model_id)
            except ModelMismatch:
                continue
        return self._make_other(model_id)
