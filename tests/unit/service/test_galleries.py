from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from facesearch.databases import open_collection_store, open_reencoding_store
from facesearch.errors import CollectionNotFound, DatabaseUnavailable, ModelMismatch
from facesearch.search import ExactIndex
from facesearch.service.encoders import Encoders
from facesearch.service.galleries import Galleries
from facesearch.service.outage import Outage
from facesearch.workers import InlinePool
from tests.contracts.api import vector
from tests.contracts.new_faces import new_face
from tests.fakes import FakeIndex
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import COLOURS, NEGATIVES, FakeKinds, SwitchedDatabase

DEFAULT = "default"


class ClosingIndex(FakeIndex):
    """Notes its collection and model where it is closed."""

    def __init__(self, model_id: str, dimension: int, closed: list[tuple[int, str]], number: int = 1) -> None:
        super().__init__(model_id, dimension)
        self.closed = closed
        self.number = number

    def of(self, collection: int, model_id: str, dimension: int) -> "ClosingIndex":
        return ClosingIndex(model_id, dimension, self.closed, collection)

    def close(self) -> None:
        self.closed.append((self.number, self._model_id))


@pytest.fixture
def database(new_database: NewDatabase) -> SwitchedDatabase:
    return new_database()


@pytest.fixture
def closed() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def new_galleries(closed: list[tuple[int, str]]) -> Callable[..., Galleries]:
    def new(database: SwitchedDatabase, most_open: int = 64) -> Galleries:
        encoders = Encoders(FakeKinds())
        index = ClosingIndex(COLOURS, 3, closed)
        store = open_collection_store(database)
        return Galleries(database, store, encoders, index, Outage(), most_open)

    return new


@pytest.fixture
def galleries(database: SwitchedDatabase, new_galleries: Callable[..., Galleries]) -> Galleries:
    return new_galleries(database)


def model_of(galleries: Galleries, name: str = DEFAULT) -> str:
    return galleries.encoder_of(galleries.find(name)).model_id


def test_the_configured_encoder_counts_while_a_collection_is_empty(
    galleries: Galleries, database: SwitchedDatabase
) -> None:
    other = galleries.store.add("other")
    assert (model_of(galleries), model_of(galleries, "other")) == (COLOURS, COLOURS)
    database.add_faces([vector(3)], NEGATIVES)
    assert (model_of(galleries), model_of(galleries, "other")) == (NEGATIVES, COLOURS)
    galleries.database(other.number).add_faces([vector(3)], NEGATIVES)
    assert model_of(galleries, "other") == NEGATIVES


def test_a_collection_is_found_as_it_is_now(galleries: Galleries) -> None:
    first = galleries.store.add("people", NEGATIVES, 3)
    found = galleries.find("people")
    assert (found.number, found.name, found.model_id, found.is_live) == (
        first.number,
        "people",
        NEGATIVES,
        True,
    )
    galleries.store.delete("people")
    with pytest.raises(CollectionNotFound):
        galleries.find("people")
    assert galleries.known("people") is None
    again = galleries.store.add("people")
    assert galleries.find("people").number == again.number != first.number


def test_what_was_found_last_counts_while_the_database_is_away(
    galleries: Galleries, database: SwitchedDatabase
) -> None:
    galleries.store.add("people", NEGATIVES, 3)
    galleries.find("people")
    database.away = DatabaseUnavailable()
    known = galleries.find_or_known("people")
    assert (known.model_id, known.is_live) == (NEGATIVES, False)
    for call in (galleries.find, galleries.find_or_known):
        with pytest.raises(DatabaseUnavailable):
            call(DEFAULT)
    with pytest.raises(DatabaseUnavailable):
        galleries.find("people")
    database.away = None
    assert galleries.find_or_known("people").is_live


def test_a_model_that_no_encoder_makes_is_refused(galleries: Galleries, database: SwitchedDatabase) -> None:
    database.add_faces([vector(3)], "unknown")
    for encoder in (lambda: model_of(galleries), lambda: galleries.likely_encoder(DEFAULT)):
        with pytest.raises(ModelMismatch):
            encoder()


def test_the_likely_encoder_is_the_configured_one_while_nobody_can_tell(
    galleries: Galleries, database: SwitchedDatabase
) -> None:
    database.add_faces([vector(3)], NEGATIVES)
    database.away = DatabaseUnavailable()
    for _ in range(2):
        assert galleries.likely_encoder(DEFAULT).model_id == COLOURS
    database.away = None
    assert galleries.likely_encoder(DEFAULT).model_id == NEGATIVES
    database.away = DatabaseUnavailable()
    assert galleries.likely_encoder(DEFAULT).model_id == NEGATIVES


class HangingDatabase(SwitchedDatabase):
    """Is away; once `is_hanging`, each question waits for `answer` first."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.is_hanging = False
        self.asked, self.answer = Event(), Event()

    def gallery_model(self) -> str | None:
        if self.is_hanging:
            self.asked.set()
            assert self.answer.wait(30)
        raise DatabaseUnavailable


def test_while_one_thread_asks_a_database_that_is_away_the_others_do_not_wait(
    tmp_path: Path, new_galleries: Callable[..., Galleries]
) -> None:
    database = HangingDatabase(tmp_path / "hanging.db")
    database.prepare()
    galleries = new_galleries(database)
    galleries.likely_encoder(DEFAULT)
    database.is_hanging = True
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(galleries.likely_encoder, DEFAULT)
        assert database.asked.wait(30)
        assert galleries.likely_encoder(DEFAULT).model_id == COLOURS
        assert not waiting.done()
        database.answer.set()
        assert waiting.result(30).model_id == COLOURS
    database.close()


def test_each_collection_has_a_copy_of_each_model_and_all_are_closed(
    galleries: Galleries, closed: list[tuple[int, str]]
) -> None:
    copies = {}
    for key in ((1, COLOURS), (1, NEGATIVES), (2, COLOURS)):
        with galleries.copy(key[0], galleries.encoders.of(key[1])) as copy:
            copies[key] = copy
        with galleries.copy(key[0], galleries.encoders.of(key[1])) as again:
            assert again is copy
    assert len({id(copy.index) for copy in copies.values()}) == 3
    galleries.close()
    assert sorted(closed) == sorted(copies)


def test_the_copies_used_longest_ago_are_closed_and_never_one_in_use(
    database: SwitchedDatabase, new_galleries: Callable[..., Galleries], closed: list[tuple[int, str]]
) -> None:
    galleries = new_galleries(database, most_open=2)
    encoder = galleries.encoders.configured
    with galleries.copy(2, encoder):
        for number in (3, 4, 5):
            with galleries.copy(number, encoder):
                pass
        assert closed == [(3, COLOURS), (4, COLOURS)]
    with galleries.copy(6, encoder):
        pass
    assert closed == [(3, COLOURS), (4, COLOURS), (2, COLOURS)]


def test_the_copies_of_a_collection_that_is_gone_are_closed_once_nobody_uses_them(
    galleries: Galleries, closed: list[tuple[int, str]]
) -> None:
    galleries.store.add("people", NEGATIVES, 3)
    found = galleries.find("people")
    with galleries.copy(found.number, galleries.encoder_of(found)):
        galleries.store.delete("people")
        with pytest.raises(CollectionNotFound):
            galleries.find("people")
        assert closed == []
    assert closed == [(found.number, NEGATIVES)]


def test_how_far_the_farthest_copy_is_behind_is_told(
    galleries: Galleries, database: SwitchedDatabase
) -> None:
    other = galleries.store.add("other")
    views = {1: database, other.number: galleries.database(other.number)}
    for number, view in views.items():
        view.add_faces([vector(3)] * number, COLOURS)
        with galleries.copy(number, galleries.encoders.configured) as copy:
            copy.index.catch_up(view)
    assert galleries.changes_behind() == 0
    views[other.number].add_faces([vector(3)] * 5, COLOURS)
    assert galleries.changes_behind() == 5
    assert galleries.look_around() == {1: COLOURS, other.number: COLOURS}


def test_where_faces_were_removed_no_copy_of_another_model_is_left(
    tmp_path: Path, database: SwitchedDatabase
) -> None:
    pool = InlinePool()
    index = ExactIndex(tmp_path / "index", COLOURS, 3, pool, 0)
    galleries = Galleries(database, open_collection_store(database), Encoders(FakeKinds()), index, Outage())
    number = galleries.store.add("people", NEGATIVES, 3).number
    view = galleries.database(number)
    [face_id] = view.add_faces([vector(3)], NEGATIVES)
    for model_id in (COLOURS, NEGATIVES):  # as if the model had been switched
        with galleries.copy(number, galleries.encoders.of(model_id)) as copy:
            copy.index.catch_up(view)

    def files(model_id: str) -> list[str]:
        return [file.name for file in (tmp_path / "index").iterdir() if model_id in file.name]

    assert files(COLOURS)
    view.delete_faces([face_id])
    galleries.level(number, NEGATIVES)
    assert [bool(files(model_id)) for model_id in (COLOURS, NEGATIVES)] == [False, True]
    with galleries.copy(number, galleries.encoders.of(NEGATIVES)) as copy:
        assert copy.index.extent()[0] == view.newest_change()
    galleries.level(number, "unknown")
    assert files(NEGATIVES) == []
    galleries.close()


def test_the_copy_of_the_model_before_goes_where_a_switch_is_noticed(
    database: SwitchedDatabase, tmp_path: Path
) -> None:
    """Whoever switched may have done so on another host."""
    index = ExactIndex(tmp_path / "index", COLOURS, 3, InlinePool(), 0)
    galleries = Galleries(database, open_collection_store(database), Encoders(FakeKinds()), index, Outage())
    [face] = database.add_faces([vector(3)], COLOURS)
    store = open_reencoding_store(database)
    store.begin(1, NEGATIVES, 3)
    store.put(1, NEGATIVES, {face: np.zeros(3, np.float32)})

    def search() -> set[str]:
        """Bring the copy level as a search does; the models that there are files of."""
        found = galleries.find(DEFAULT)
        with galleries.copy(1, galleries.encoder_of(found)) as copy:
            copy.index.catch_up(copy.database)
        names = [file.name for file in (tmp_path / "index").iterdir()]
        return {model for model in (COLOURS, NEGATIVES) for name in names if name.startswith(model)}

    assert search() == {COLOURS}
    store.switch(1)
    assert search() == {NEGATIVES}
    galleries.close()


@pytest.mark.parametrize("damage", ["head", "matrix gone", "cut short"])
def test_a_copy_that_is_damaged_is_made_level_too(
    database: SwitchedDatabase, tmp_path: Path, damage: str
) -> None:
    """Its extent is none, and a face that is erased lies in it."""
    index = ExactIndex(tmp_path / "index", COLOURS, 3, InlinePool(), 0)
    galleries = Galleries(database, open_collection_store(database), Encoders(FakeKinds()), index, Outage())
    [theirs, other] = np.random.default_rng(1).random((2, 3)).astype("<f4")
    gone, _ = database.add_faces([new_face(theirs), new_face(other)], COLOURS)
    data = theirs.tobytes()
    with galleries.copy(1, galleries.encoders.of(COLOURS)) as copy:
        copy.index.catch_up(database)
    galleries.close()
    [path] = (tmp_path / "index").glob("*.matrix")
    content = path.read_bytes()
    assert data in content
    if damage == "head":
        path.write_bytes(bytes(64) + content[64:])
    elif damage == "cut short":
        path.write_bytes(content[: content.index(data) + len(data)])
    else:
        path.rename(path.with_suffix(".graph"))

    index = ExactIndex(tmp_path / "index", COLOURS, 3, InlinePool(), 0)
    galleries = Galleries(database, open_collection_store(database), Encoders(FakeKinds()), index, Outage())
    database.delete_faces([gone])
    galleries.level(1, COLOURS)
    assert [file.name for file in (tmp_path / "index").iterdir() if data in file.read_bytes()] == []
    galleries.close()
