import pytest

from facesearch.images import AGTImage
from tests.labelled_photos import labelled
from tests.odd_expectations import ODD
from tests.unit.images.pictures import LIMITS

pytestmark = pytest.mark.faces


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_opened_or_refused_with_the_right_error(name: str) -> None:
    data = labelled(f"odd/{name}").read_bytes()
    expected = ODD[name].error
    if expected:
        with pytest.raises(expected):
            AGTImage.open(data, name, LIMITS)
    else:
        image = AGTImage.open(data, name, LIMITS)
        assert image.pixels.shape == (image.info.height, image.info.width, 3)


def test_every_odd_file_has_an_expectation() -> None:
    assert {file.name for file in labelled("odd").iterdir()} == set(ODD)
