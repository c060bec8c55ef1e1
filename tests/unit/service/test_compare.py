import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.errors import InvalidParameter, TooLarge
from facesearch.interfaces import ANY_FACE, Image
from facesearch.records import Box, Detection, PhotoFile, Wanted
from facesearch.service.compare import MOST_FACES, compare_photos, find_faces
from tests.fakes import FakeImage
from tests.unit.service.parts import GREEN, RED, FakeKinds, open_image, photo

ONE = PhotoFile("one.png", photo((RED, 20)))
TWO = PhotoFile("two.png", photo((RED, 10), (GREEN, 20)))


def strip(*colours: tuple[int, int, int], rows: int = 3) -> FakeImage:
    """A face per colour; each is a column wider than the one before."""
    row = np.array([c for width, c in enumerate(colours, 1) for _ in range(width)], np.uint8)
    return FakeImage(np.repeat(row[None], rows, axis=0))


def test_both_photos_go_through_the_network_in_one_batch() -> None:
    encoder = FakeKinds()
    compare_photos(open_image, encoder, ONE, TWO, None, Wanted())
    assert encoder.batches == [3]


def test_where_a_photo_has_no_face_nothing_is_embedded() -> None:
    encoder = FakeKinds()
    nobody = PhotoFile("nobody.png", photo(((0, 0, 0), 9)))
    found = compare_photos(open_image, encoder, TWO, nobody, None, Wanted())
    assert (len(found.source.faces), found.pairs, encoder.batches) == (2, (), [])


def test_of_many_faces_the_largest_are_compared_in_their_order() -> None:
    colours = [(number % 250 + 1, number // 250 + 1, 0) for number in range(MOST_FACES + 7)]
    crowd = strip(*colours)

    def opened(_data: bytes, name: str) -> Image:
        return crowd if name == "crowd" else strip((9, 9, 9))

    crowd_file, other = PhotoFile("crowd", b""), PhotoFile("other", b"")
    found = compare_photos(opened, FakeKinds(), crowd_file, other, None, Wanted())
    assert len(found.source.faces) == len(found.pairs) == MOST_FACES
    lefts = [face.box.left for face in found.source.faces]
    everyone = find_faces(opened, FakeKinds(), crowd_file, Wanted())[0].faces
    assert lefts == [face.box.left for face in everyone[7:]]
    (nearest, *_) = found.pairs
    assert found.source.faces[nearest.source].box == everyone[7:][nearest.source].box


def test_as_near_pairs_come_by_their_positions() -> None:
    same = strip(RED, (0, 0, 0), RED)
    found = compare_photos(lambda *_: same, FakeKinds(), ONE, ONE, None, Wanted())
    assert [(pair.source, pair.target) for pair in found.pairs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_landmarks_are_those_of_the_detector() -> None:
    points = tuple((float(at), 1.0) for at in range(5))

    class Landmarks(FakeKinds):
        def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
            return [Detection(Box(0, 3, 3, 0), 1.0, points)]

    found, _ = find_faces(open_image, Landmarks(), ONE, Wanted())
    assert [face.landmarks for face in found.faces] == [points]


def test_distances_are_computed_in_float64() -> None:
    class Near(FakeKinds):
        def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.array([[1.0, 0.0, 0.0], [1.0 + 2**-20, 2**-20, 0.0]], np.float32)

    (pair,) = compare_photos(open_image, Near(), ONE, ONE, None, Wanted()).pairs
    assert pair.distance == pytest.approx(2**-20 * np.sqrt(2), rel=1e-12)


def test_a_photo_over_a_limit_is_named_and_a_parameter_is_not_a_photos() -> None:
    def too_large(_data: bytes, name: str) -> Image:
        raise TooLarge("It has 9 pixels.")

    with pytest.raises(TooLarge, match=r"^source: It has 9 pixels\.$"):
        compare_photos(too_large, FakeKinds(), ONE, ONE, None, Wanted())

    class NoSuchDetector(FakeKinds):
        def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
            raise InvalidParameter("It is not installed.")

    with pytest.raises(InvalidParameter, match=r"^It is not installed\.$"):
        compare_photos(open_image, NoSuchDetector(), ONE, ONE, None, Wanted())


def test_a_name_is_a_name_and_no_path() -> None:
    seen: list[str] = []

    def opened(data: bytes, name: str) -> Image:
        seen.append(name)
        return open_image(data, name)

    one, other = PhotoFile("../../a.png", ONE.data), PhotoFile("C:\\b.png", ONE.data)
    compare_photos(opened, FakeKinds(), one, other, None, Wanted())
    assert seen == ["a.png", "b.png"]
