"""Which vector space the gallery has, with the encoder and the index that belong to it."""

import threading

from facesearch.interfaces import FaceIndex, ImageDatabase, ImageEncoder


class Gallery:
    """Lives as long as its process. Any thread may call it.

    A gallery gets its model with its first face and keeps it; while it is empty the configured encoder
    counts, and the database is asked each time.

    Args:
        database: knows the gallery's model.
        encoder: the configured one.
        index: the index of that encoder's model.
    """

    def __init__(self, database: ImageDatabase, encoder: ImageEncoder, index: FaceIndex) -> None:
        self._database = database
        self._configured = encoder
        self._lock = threading.Lock()
        self._settled: ImageEncoder | None = None
        self._indexes = {encoder.model_id: index}

    def encoder(self) -> ImageEncoder:
        """Return the encoder of the gallery's model.

        Raises:
            ModelMismatch: the gallery's model is none that this service can make.
        """
        if self._settled is not None:
            return self._settled
        model_id = self._database.gallery_model()
        if model_id is None:
            return self._configured
        own = model_id == self._configured.model_id
        self._settled = self._configured if own else self._configured.for_model(model_id)
        return self._settled

    def index_of(self, encoder: ImageEncoder) -> FaceIndex:
        """Return the index of an encoder's model."""
        with self._lock:
            if encoder.model_id not in self._indexes:
                first = next(iter(self._indexes.values()))
                self._indexes[encoder.model_id] = first.for_model(encoder.model_id, encoder.dimension)
            return self._indexes[encoder.model_id]

    def known_index(self) -> FaceIndex:
        """Return the index of the gallery's model as far as this process knows it; asks nobody."""
        return self.index_of(self._settled or self._configured)

    def close(self) -> None:
        """Release the indexes."""
        with self._lock:
            for index in self._indexes.values():
                index.close()
