"""What every ImageEncoder does."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.errors import ModelMismatch
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import AlignedFace, Wanted

LARGEST = Wanted(only_largest=True)


def crops(faces: Sequence[AlignedFace]) -> NDArray[np.uint8]:
    return np.stack([face.crop for face in faces])


class ImageEncoderContract(ABC):
    @pytest.fixture
    @abstractmethod
    def encoder(self) -> ImageEncoder:
        """Return an encoder; one may serve all tests."""

    @pytest.fixture
    @abstractmethod
    def two_faces(self) -> Image:
        """Return a photo with two faces of different people, the right one larger by a tenth or more."""

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

    def test_fewer_faces_than_there_are_are_the_largest(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        both = encoder.detect(two_faces)
        assert encoder.detect(two_faces, Wanted(max_faces=2)) == both
        assert encoder.detect(two_faces, Wanted(max_faces=1)) == both[1:]

    def test_faces_below_the_smallest_size_are_left_out(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        small, large = (min(d.box.width, d.box.height) for d in encoder.detect(two_faces))
        found = encoder.detect(two_faces, Wanted(min_face_px=round((small + large) / 2)))
        assert [d.box.left > two_faces.info.width / 3 for d in found] == [True]
        assert encoder.detect(two_faces, Wanted(min_face_px=2 * large)) == []

    def test_each_detection_becomes_a_crop_with_its_quality(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        found = encoder.detect(two_faces)
        faces = encoder.align(two_faces, found)
        assert [face.box for face in faces] == [detection.box for detection in found]
        assert [face.quality.score for face in faces] == [detection.score for detection in found]
        assert [face.quality.size_px for face in faces] == [min(d.box.width, d.box.height) for d in found]
        assert crops(faces).dtype == np.uint8
        assert crops(faces).shape[0] == 2
        assert crops(faces).shape[3] == 3

    def test_no_detections_give_no_crops(self, encoder: ImageEncoder, two_faces: Image) -> None:
        assert encoder.align(two_faces, []) == []

    def test_every_crop_gets_an_embedding(self, encoder: ImageEncoder, two_faces: Image) -> None:
        embeddings = encoder.embed(crops(encoder.align(two_faces, encoder.detect(two_faces))))
        assert embeddings.dtype == np.float32
        assert embeddings.shape == (2, encoder.dimension)
        assert np.isfinite(embeddings).all()
        assert np.linalg.norm(embeddings[0] - embeddings[1]) > encoder.tolerance

    def test_no_crops_give_no_embeddings(self, encoder: ImageEncoder, two_faces: Image) -> None:
        one = crops(encoder.align(two_faces, encoder.detect(two_faces)))
        assert encoder.embed(one[:0]).shape == (0, encoder.dimension)

    def test_an_embedding_depends_on_its_own_face_alone(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        both = crops(encoder.align(two_faces, encoder.detect(two_faces)))
        together = encoder.embed(both[::-1])
        assert np.allclose(encoder.embed(both[:1])[0], together[1], rtol=0, atol=1e-6)

    def test_a_photo_without_a_face_is_no_error(self, encoder: ImageEncoder, no_face: Image) -> None:
        photo = encoder.encode(no_face)
        assert photo.faces == ()
        assert photo.faces_found == 0
        assert encoder.encode(no_face, LARGEST).faces == ()
        assert encoder.look(no_face) == ([], 0)

    def test_encode_joins_boxes_embeddings_and_quality(self, encoder: ImageEncoder, two_faces: Image) -> None:
        faces = encoder.align(two_faces, encoder.detect(two_faces))
        photo = encoder.encode(two_faces)
        assert photo.info == two_faces.info
        assert [face.box for face in photo.faces] == [face.box for face in faces]
        assert [face.quality for face in photo.faces] == [face.quality for face in faces]
        assert np.array_equal([face.embedding for face in photo.faces], encoder.embed(crops(faces)))
        assert photo.faces_found == 2

    def test_only_largest_keeps_one_face_and_counts_all(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        found = encoder.detect(two_faces, LARGEST)
        photo = encoder.encode(two_faces, LARGEST)
        assert [face.box for face in photo.faces] == [found[-1].box]
        assert photo.faces_found == len(found) == 2

    def test_its_own_model_id_leads_to_its_own_vectors(self, encoder: ImageEncoder, two_faces: Image) -> None:
        both = crops(encoder.align(two_faces, encoder.detect(two_faces)))
        same = encoder.for_model(encoder.model_id)
        assert (same.model_id, same.dimension) == (encoder.model_id, encoder.dimension)
        assert np.array_equal(same.embed(both), encoder.embed(both))

    def test_an_unknown_model_id_is_a_mismatch(self, encoder: ImageEncoder) -> None:
        with pytest.raises(ModelMismatch):
            encoder.for_model("another-network")

    def test_threads_get_what_one_alone_gets(self, encoder: ImageEncoder, two_faces: Image) -> None:
        alone = encoder.encode(two_faces)
        with ThreadPoolExecutor(4) as threads:
            for photo in threads.map(encoder.encode, [two_faces] * 4):
                assert [face.box for face in photo.faces] == [face.box for face in alone.faces]
                for face, expected in zip(photo.faces, alone.faces, strict=True):
                    assert np.array_equal(face.embedding, expected.embedding)
