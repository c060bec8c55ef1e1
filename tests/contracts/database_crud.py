# ruff: noqa: PT012  what raises is the end of a transaction, which has several statements inside
"""What every DatabaseCRUD does. A subclass brings the fixture `database`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from facesearch.errors import Conflict, InvalidParameter
from facesearch.interfaces import DatabaseCRUD

COLUMNS = {
    "id": "INTEGER NOT NULL PRIMARY KEY",
    "name": "VARCHAR(40) NOT NULL DEFAULT ''",
    "age": "INTEGER",
    "data": "BLOB",
}
PEOPLE = [
    {"id": 1, "name": "Ana", "age": 30},
    {"id": 2, "name": "ana", "age": None},
    {"id": 3, "name": "Aña", "age": 41},
    {"id": 4, "name": "Bo", "age": 30},
]


class DatabaseCRUDContract:
    @pytest.fixture
    def database(self) -> Iterator[DatabaseCRUD]:
        raise NotImplementedError

    @pytest.fixture
    def people(self, database: DatabaseCRUD) -> DatabaseCRUD:
        database.create("people", COLUMNS)
        database.insert("people", PEOPLE)
        return database

    def ids(self, database: DatabaseCRUD, where: dict[str, Any] | None = None) -> list[int]:
        return [row["id"] for row in database.select("people", ["id"], where, order_by="id")]

    def test_rows_come_back_as_they_were(self, people: DatabaseCRUD) -> None:
        row = {"id": 9, "name": "'; DROP TABLE people; -- %s 😀", "age": -1, "data": bytes(range(256))}
        people.insert("people", [row])
        assert people.select("people", where={"id": 9}) == [row]
        assert people.select("people", where={"name": row["name"]}) == [row]

    def test_creating_a_table_again_keeps_its_rows(self, people: DatabaseCRUD) -> None:
        people.create("people", {"other": "INTEGER"})
        assert self.ids(people) == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("table", "columns"),
        [
            ("a b", {"id": "INTEGER"}),
            ("t`; DROP TABLE people; --", {"id": "INTEGER"}),
            ("", {"id": "INTEGER"}),
            ("1st", {"id": "INTEGER"}),
            ("x" * 65, {"id": "INTEGER"}),
            ("fine", {}),
            ("fine", {'id"': "INTEGER"}),
            ("fine", {"id": ""}),
            ("fine", {"id": "INTEGER); DROP TABLE people; --"}),
            ("fine", {"id": "INTEGER, other INTEGER"}),
            ("fine", {"id": "INTEGER DEFAULT (SELECT 1)"}),
            ("fine", {"id": "INTEGER /* x */"}),
            ("fine", {"id": "INTEGER DEFAULT 'a''b'"}),
            ("fine", {"id": "INTEGER PRIMARY NULL"}),
        ],
    )
    def test_a_table_of_unfit_names_or_types_is_refused(
        self, people: DatabaseCRUD, table: str, columns: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidParameter):
            people.create(table, columns)
        assert self.ids(people) == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({"name": "Ana"}, [1]),
            ({"name": "aña"}, []),
            ({"age": 30}, [1, 4]),
            ({"age": None}, [2]),
            ({"age": [30, 41]}, [1, 3, 4]),
            ({"age": [41, None]}, [2, 3]),
            ({"age": [None]}, [2]),
            ({"age": []}, []),
            ({"age": (30,), "name": "Bo"}, [4]),
            ({"id >": 2}, [3, 4]),
            ({"id >=": 2}, [2, 3, 4]),
            ({"id <": 2}, [1]),
            ({"id <=": 2}, [1, 2]),
            ({"id>": 1, "id <": 4}, [2, 3]),
            ({}, [1, 2, 3, 4]),
        ],
    )
    def test_conditions_choose_rows(
        self, people: DatabaseCRUD, where: dict[str, Any], found: list[int]
    ) -> None:
        assert self.ids(people, where) == found

    @pytest.mark.parametrize(
        "where",
        [
            {"nothing": 1},
            {"id = 1 OR 1": 1},
            {"id !": 1},
            {"id > 0 OR id >": 1},
            {"id >": None},
            {"id >": [1]},
            {"id": object()},
            {"id": 2**64},
            {"id": float("nan")},
            {"name": "\udc00"},
            {"id": [[1]]},
            {"id": list(range(10_001))},
        ],
        ids=lambda where: str(where)[:24].encode("ascii", "replace").decode(),
    )
    def test_unfit_conditions_are_refused(self, people: DatabaseCRUD, where: dict[str, Any]) -> None:
        with pytest.raises(InvalidParameter):
            people.select("people", where=where)
        with pytest.raises(InvalidParameter):
            people.delete("people", where)
        assert self.ids(people) == [1, 2, 3, 4]

    @pytest.mark.parametrize("table", ["nothing", "people; --", "", "x" * 200, "a\x00b"])
    def test_an_unknown_table_is_refused(self, people: DatabaseCRUD, table: str) -> None:
        with pytest.raises(InvalidParameter):
            people.select(table)
        with pytest.raises(InvalidParameter):
            people.insert(table, [{"id": 1}])
        with pytest.raises(InvalidParameter):
            people.update(table, {"id": 1}, {"id": 1})

    def test_unknown_columns_are_refused(self, people: DatabaseCRUD) -> None:
        with pytest.raises(InvalidParameter):
            people.select("people", ["id", "nothing"])
        with pytest.raises(InvalidParameter):
            people.select("people", order_by="id DESC")
        with pytest.raises(InvalidParameter):
            people.insert("people", [{"nothing": 1}])
        with pytest.raises(InvalidParameter):
            people.update("people", {"nothing": 1}, {"id": 1})

    def test_rows_are_ordered_and_limited(self, people: DatabaseCRUD) -> None:
        rows = people.select("people", ["age", "id"], {"id >": 1}, order_by="id", limit=2)
        assert rows == [{"age": None, "id": 2}, {"age": 41, "id": 3}]
        rows = people.select("people", ["id"], order_by="id", limit=2, descending=True)
        assert rows == [{"id": 4}, {"id": 3}]
        assert people.select("people", limit=0) == []
        with pytest.raises(InvalidParameter):
            people.select("people", limit=-1)

    def test_an_update_counts_the_rows_that_matched(self, people: DatabaseCRUD) -> None:
        assert people.update("people", {"age": 30}, {"age": [30, 41]}) == 3
        assert people.update("people", {"age": 1}, {"id": 77}) == 0
        assert self.ids(people, {"age": 30}) == [1, 3, 4]

    def test_a_deletion_counts_its_rows(self, people: DatabaseCRUD) -> None:
        assert people.delete("people", {"id >": 2}) == 2
        assert self.ids(people) == [1, 2]

    def test_an_empty_where_neither_updates_nor_deletes(self, people: DatabaseCRUD) -> None:
        with pytest.raises(InvalidParameter):
            people.update("people", {"age": 1}, {})
        with pytest.raises(InvalidParameter):
            people.delete("people", {})
        assert self.ids(people, {"age": 30}) == [1, 4]

    @pytest.mark.parametrize(
        "rows", [[{"id": 5}, {"id": 6, "age": 1}], [{}], [{"id": 5}, {"id": object()}], [{"id": 2**63}]]
    )
    def test_unfit_rows_are_refused_together(self, people: DatabaseCRUD, rows: list[dict[str, Any]]) -> None:
        with pytest.raises(InvalidParameter):
            people.insert("people", rows)
        assert self.ids(people) == [1, 2, 3, 4]

    def test_of_rows_with_one_duplicate_none_is_stored(self, people: DatabaseCRUD) -> None:
        rows = [{"id": n, "name": "x"} for n in range(2_000, 1, -1)]
        with pytest.raises(Conflict):
            people.insert("people", rows)
        assert self.ids(people) == [1, 2, 3, 4]

    def test_a_missing_value_is_refused(self, people: DatabaseCRUD) -> None:
        with pytest.raises(InvalidParameter):
            people.insert("people", [{"id": 5, "name": None}])

    def test_many_rows_are_inserted_at_once(self, people: DatabaseCRUD) -> None:
        people.insert("people", [{"id": n, "name": "x", "data": bytes(9_000)} for n in range(10, 1_510)])
        assert len(people.select("people", ["id"])) == 1_504
        people.insert("people", [])

    def test_a_transaction_is_committed_whole(self, people: DatabaseCRUD) -> None:
        with people.transaction():
            people.insert("people", [{"id": 5, "name": "Cy"}])
            people.delete("people", {"id": 1})
            assert self.ids(people) == [2, 3, 4, 5]
        assert self.ids(people) == [2, 3, 4, 5]

    def test_an_error_rolls_a_transaction_back(self, people: DatabaseCRUD) -> None:
        with pytest.raises(ZeroDivisionError), people.transaction():
            people.delete("people", {"id >": 0})
            raise ZeroDivisionError
        assert self.ids(people) == [1, 2, 3, 4]
        people.insert("people", [{"id": 5, "name": "Cy"}])

    def test_an_inner_transaction_joins_the_outer_one(self, people: DatabaseCRUD) -> None:
        with pytest.raises(ZeroDivisionError), people.transaction():
            with people.transaction():
                people.delete("people", {"id": 1})
            raise ZeroDivisionError
        assert self.ids(people) == [1, 2, 3, 4]

    def test_a_transaction_cannot_go_on_after_a_failed_part(self, people: DatabaseCRUD) -> None:
        with pytest.raises(Conflict), people.transaction():
            people.delete("people", {"id": 4})
            with pytest.raises(Conflict):
                people.insert("people", [{"id": 5, "name": "x"}, {"id": 1, "name": "x"}])
            with pytest.raises(Conflict):
                people.select("people")
        with pytest.raises(Conflict), people.transaction():
            people.delete("people", {"id": 4})
            with pytest.raises(ZeroDivisionError), people.transaction():
                raise ZeroDivisionError
        assert self.ids(people) == [1, 2, 3, 4]

    def test_a_wrong_name_does_not_spoil_a_transaction(self, people: DatabaseCRUD) -> None:
        with people.transaction():
            people.delete("people", {"id": 4})
            with pytest.raises(InvalidParameter):
                people.select("nothing")
        assert self.ids(people) == [1, 2, 3]

    def test_a_table_is_not_created_inside_a_transaction(self, people: DatabaseCRUD) -> None:
        with pytest.raises(ZeroDivisionError), people.transaction():
            people.delete("people", {"id": 4})
            with pytest.raises(InvalidParameter):
                people.create("other", {"id": "INTEGER"})
            raise ZeroDivisionError
        assert self.ids(people) == [1, 2, 3, 4]

    def test_a_transaction_is_its_threads_own(self, people: DatabaseCRUD) -> None:
        with ThreadPoolExecutor(1) as other, people.transaction():
            people.delete("people", {"id": 4})
            assert other.submit(self.ids, people).result(30) == [1, 2, 3, 4]
            assert self.ids(people) == [1, 2, 3]

    def test_words_of_sql_may_name_tables_and_columns(self, database: DatabaseCRUD) -> None:
        database.create("select", {"vector": "INTEGER", "order": "INTEGER", "Group": "INTEGER"})
        database.insert("select", [{"vector": 1, "order": 2, "Group": 3}])
        assert database.update("select", {"order": 5}, {"vector": 1}) == 1
        assert database.select("select", ["order"], {"vector": 1}, order_by="Group") == [{"order": 5}]
        assert database.delete("select", {"Group <": 4}) == 1

    def test_it_can_be_pinged(self, database: DatabaseCRUD) -> None:
        database.ping()
