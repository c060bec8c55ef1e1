from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from facesearch.records import EVERY_FACE, Once, Person
from tests.contracts.gallery_parts import enrolled
from tests.unit.service.conftest import Opened
from tests.unit.service.parts import PHOTOS

AT_ONCE = 6


def test_the_same_request_at_once_makes_one_person_and_answers_all_alike(opened: Opened) -> None:
    people = opened().collections.gallery("default").people
    start = Barrier(AT_ONCE)

    def add(_: int) -> Person:
        start.wait(30)
        return people.add("Ada", Once("key", "fingerprint"))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        made = list(threads.map(add, range(AT_ONCE)))
    assert made == [people.get(made[0].id)] * AT_ONCE
    assert len(people.page(10).items) == 1


def test_two_who_assign_and_merge_at_once_lose_no_face(opened: Opened) -> None:
    gallery = opened().collections.gallery("default")
    faces = [enrolled(gallery, PHOTOS.person, name) for name in ("Ada", "Ada", "Bo", "Bo")]
    ada, bo, cy = faces[0].person_id or 0, faces[2].person_id or 0, gallery.people.add("Cy").id
    start = Barrier(2)

    def assign() -> None:
        start.wait(30)
        gallery.people.assign([faces[1].id, faces[3].id], cy)

    def merge() -> None:
        start.wait(30)
        gallery.people.merge(ada, [bo])

    with ThreadPoolExecutor(2) as threads:
        for work in (threads.submit(assign), threads.submit(merge)):
            work.result(60)
    owners = {face.id: face.person_id for face in gallery.faces(EVERY_FACE, 10).items}
    counted = {person.id: person.faces for person in gallery.people.page(10).items}
    assert set(owners) == {face.id for face in faces}
    assert set(owners.values()) <= {ada, cy}
    assert counted == {one: list(owners.values()).count(one) for one in (ada, cy)}
