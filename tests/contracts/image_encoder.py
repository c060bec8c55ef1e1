"""What every ImageEncoder does."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facesearch.interfaces import Image, ImageEncoder


class ImageEncoderContract(ABC):
    @pytest.fixture
    @abstractmethod
    def encoder(self) -> ImageEncoder:
        """Return an encoder; one may serve all tests."""

    @pytest.fixture
    @abstractmethod
    def two_faces(self) -> Image:
        """Return a photo with two faces of different people, the right one larger."""

    @pytest.fixture
    @abstractmethod
    def no_face(self) -> Image:
        """Return a photo without a face."""

    def test_names_its_vector_space(self, encoder: ImageEncoder) -> None:
        assert encoder.model_id
        assert encoder.dimension >= 1
        assert 0 < encoder.tolerance <= 2

    def test_ping_raises_nothing_where_all_is_well(self, encoder: ImageEncoder) -> None:
        encoder.ping()
        encoder.ping()

    def test_faces_come_from_left_to_right_in_pixels_of_the_photo(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        left, right = (detection.box for detection in encoder.detect(two_faces))
        assert 0 <= left.left < left.right < right.left < right.right < two_faces.info.width
        assert right.area > left.area

    def test_every_detection_gets_an_embedding(self, encoder: ImageEncoder, two_faces: Image) -> None:
        embeddings = encoder.embed(two_faces, encoder.detect(two_faces))
        assert embeddings.dtype == np.float32
        assert embeddings.shape == (2, encoder.dimension)
        assert np.isfinite(embeddings).all()
        assert np.linalg.norm(embeddings[0] - embeddings[1]) > encoder.tolerance

    def test_no_detections_give_no_embeddings(self, encoder: ImageEncoder, two_faces: Image) -> None:
        assert encoder.embed(two_faces, []).shape == (0, encoder.dimension)

    def test_an_embedding_depends_on_its_own_face_alone(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        first, second = encoder.detect(two_faces)
        together = encoder.embed(two_faces, [second, first])
        assert np.allclose(encoder.embed(two_faces, [first])[0], together[1], atol=1e-6)

    def test_a_photo_without_a_face_is_no_error(self, encoder: ImageEncoder, no_face: Image) -> None:
        photo = encoder.encode(no_face)
        assert photo.faces == ()
        assert photo.faces_found == 0
        assert encoder.encode(no_face, only_largest=True).faces == ()

    def test_encode_joins_boxes_and_embeddings(self, encoder: ImageEncoder, two_faces: Image) -> None:
        found = encoder.detect(two_faces)
        photo = encoder.encode(two_faces)
        assert photo.info == two_faces.info
        assert [face.box for face in photo.faces] == [detection.box for detection in found]
        assert np.array_equal([face.embedding for face in photo.faces], encoder.embed(two_faces, found))
        assert photo.faces_found == 2

    def test_only_largest_keeps_one_face_and_counts_all(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        photo = encoder.encode(two_faces, only_largest=True)
        assert [face.box for face in photo.faces] == [encoder.detect(two_faces)[1].box]
        assert photo.faces_found == 2

    def test_threads_get_what_one_alone_gets(self, encoder: ImageEncoder, two_faces: Image) -> None:
        alone = encoder.encode(two_faces)
        with ThreadPoolExecutor(4) as threads:
            for photo in threads.map(encoder.encode, [two_faces] * 4):
                assert [face.box for face in photo.faces] == [face.box for face in alone.faces]
                for face, expected in zip(photo.faces, alone.faces, strict=True):
                    assert np.array_equal(face.embedding, expected.embedding)
