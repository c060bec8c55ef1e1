"""The service of real parts: dlib's networks, the exact index, each database, a pool of processes."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from facesearch.config import EncoderSettings, QualitySettings, Settings
from facesearch.databases import open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.interfaces import API, ImageDatabase, WorkerPool
from facesearch.search import ExactIndex
from facesearch.service import EncodePhotos
from facesearch.workers import InlinePool, ProcessPool
from tests.contracts.api import APIContract, Make, Models, Photos, zipped
from tests.contracts.api_photos import APIPhotosContract
from tests.fakes import FakeEncoder
from tests.real.deadly_photos import DEADLY, open_or_die
from tests.unit.service.parts import GREEN, Parts, photo

PICTURES = Path(__file__).resolve().parents[2] / "test_images"


def reduced(name: str, side_px: int) -> Pillow.Image:
    with Pillow.open(PICTURES / name) as picture:
        return ImageOps.contain(picture.convert("RGB"), (side_px, side_px))


def png(picture: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures() -> Photos:
    """Small copies of the pictures that may be published, so that looking for faces costs little."""
    both = Pillow.new("RGB", (560, 330))
    both.paste(reduced("Barack_Obama_0002.jpg", 230), (0, 0))
    both.paste(reduced("Joe_Biden_0001.jpg", 330), (240, 0))
    return Photos(
        person=png(reduced("Barack_Obama_0001.jpg", 280)),
        person_again=png(reduced("Barack_Obama_0002.jpg", 280)),
        other=png(reduced("Joe_Biden_0001.jpg", 280)),
        both=png(both),
        nobody=png(reduced("no_face_coffee.jpg", 100)),
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> AGTEncoder:
    """The networks, loaded once; each test's encoders share them."""
    return AGTEncoder(EncoderSettings(), tmp_path_factory.mktemp("graphs"))


class TestAGTAPI(APIContract, APIPhotosContract):
    @pytest.fixture
    def photos(self, pictures: Photos) -> Photos:
        return pictures

    @pytest.fixture
    def models(self) -> Models:
        return Models("dlib-resnet-v1-mirror", "dlib-resnet-v1-plain", 128)

    @pytest.fixture
    def database(self, database_settings: Settings) -> Iterator[ImageDatabase]:
        database = open_image_database(database_settings)
        database.prepare()
        yield database
        database.close()

    @pytest.fixture
    def new_api(self, database: ImageDatabase, encoder: AGTEncoder, tmp_path: Path) -> Make:
        def new(model_id: str, quality: QualitySettings) -> API:
            configured = encoder.for_model(model_id)
            pool = InlinePool()
            index = ExactIndex(tmp_path / "index", configured.model_id, configured.dimension, pool, 0)
            parts = Parts(database, configured, pool, quality, index=index)
            return parts.make(tmp_path / "imports")

        return new


@pytest.fixture
def new_pool(tmp_path: Path) -> Iterator[Callable[[], WorkerPool]]:
    pools: list[ProcessPool] = []

    def new() -> WorkerPool:
        pools.append(ProcessPool(1, 8, 60.0, tmp_path / "slots"))
        return pools[-1]

    yield new
    for pool in pools:
        pool.close()


def test_a_photo_that_ends_its_process_costs_the_others_of_its_group_nothing(
    new_pool: Callable[[], WorkerPool], tmp_path: Path
) -> None:
    database = open_image_database(Settings(data_dir=tmp_path / "data"))
    encode = EncodePhotos(open_or_die, FakeEncoder)
    api = Parts(database, FakeEncoder(), new_pool(), open_image=open_or_die, encode_photos=encode).make(
        tmp_path / "imports"
    )
    api.open()
    try:
        files = {f"Person{at}_0001.png": photo((GREEN, 20 + at)) for at in range(9)}
        files["Person5_0001.png"] = DEADLY + files["Person5_0001.png"]
        report = api.add_faces_in_bulk(zipped(files))
        assert [f.path for f in report.files if f.status != "inserted"] == ["Person5_0001.png"]
        assert "died" in (report.files[5].reason or "")
        assert database.newest_change() == 8
    finally:
        api.close()
