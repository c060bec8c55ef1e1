"""Which vector space the gallery has, with the encoder and the index that belong to it."""

import threading

from facesearch.errors import DatabaseUnavailable
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
        self._asking = threading.Lock()
        self._is_away = False
        self._settled: ImageEncoder | None = None
        self._indexes = {encoder.model_id: index}

    def held(self) -> ImageEncoder | None:
        """Return the encoder of the model that the gallery holds vectors of, None while it is empty.

        Raises:
            ModelMismatch: the gallery's model is none that this service can make.
        """
        if self._settled is not None:
            return self._settled
        model_id = self._database.gallery_model()
        if model_id is not None:
            own = model_id == self._configured.model_id
            self._settled = self._configured if own else self._configured.for_model(model_id)
        return self._settled

    def encoder(self) -> ImageEncoder:
        """Return the encoder of the gallery's model, and of an empty one's the configured encoder.

        Raises:
            ModelMismatch: the gallery's model is none that this service can make.
        """
        return self.held() or self._configured

    def likely_encoder(self) -> ImageEncoder:
        """As `encoder`; while the database that knows the model is away, the configured encoder.

        One thread at a time asks a database that is away; the others do not wait for it.
        """
        if not self._is_away:
            return self._asked()
        if not self._asking.acquire(blocking=False):
            return self._settled or self._configured
        try:
            return self._asked()
        finally:
            self._asking.release()

    def _asked(self) -> ImageEncoder:
        try:
            encoder = self.encoder()
        except DatabaseUnavailable:
            self._is_away = True
            return self._configured
        self._is_away = False
        return encoder

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
