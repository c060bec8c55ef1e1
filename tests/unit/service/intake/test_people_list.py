import codecs
import csv
import io
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.errors import FacesearchError, Invalid, TooLarge
from facesearch.service.intake.people_list import PeopleList, Person

MIB = 1024**2
ANA = Person("Ana", "17", {})


def parsed(text: str | bytes, most_rows: int = 1000, folder: str = "") -> PeopleList:
    return PeopleList.parse(text.encode() if isinstance(text, str) else text, most_rows, folder)


@pytest.mark.parametrize(
    "text",
    [
        "path,person,external_id\na.jpg,Ana,17\n",
        "PATH,Person,External_ID\r\na.jpg,Ana,17\r\n",
        "external id;path;person_name\n17;a.jpg;Ana",
        "path\tperson\texternal-id\na.jpg\tAna\t17\n\n\t\t\n",
        '"path","person","external_id"\n"a.jpg","Ana","17"\n',
        "path, person, external_id\n a.jpg , Ana , 17 \n",
        "path;person;external_id;;\na.jpg;Ana;17;;\n;;;;\n",
        "sep=;\r\npath;person;external_id\r\na.jpg;Ana;17\r\n",
        "path,person,external_id\r" + ".\\a.jpg,Ana,17\r",
        "\n\npath,person,external_id\na.jpg,Ana,17\n",
    ],
)
def test_a_list_is_read_as_spreadsheets_write_it(text: str) -> None:
    people = parsed(text)
    assert (len(people), people.of("a.jpg")) == (1, ANA)


@pytest.mark.parametrize(
    "data",
    [
        "path,person\nZoë.jpg,Zoë".encode("utf-8-sig"),
        "path,person\nZoë.jpg,Zoë".encode("utf-16"),
        codecs.BOM_UTF16_BE + "path,person\nZoë.jpg,Zoë".encode("utf-16-be"),
        "path,person\nZoe\u0308.jpg,Zoe\u0308".encode(),
    ],
)
def test_a_list_is_read_in_its_encoding_and_compared_in_one_spelling(data: bytes) -> None:
    for path in ("Zo\u00eb.jpg", "Zoe\u0308.jpg"):
        assert parsed(data).of(path) == Person("Zo\u00eb", None, {})


@pytest.mark.parametrize("line", [1, 2, 40_000])
def test_another_encoding_is_refused_and_not_guessed(line: int) -> None:
    text = "\n".join(["path,person", *(f"{n}.jpg,Ana" for n in range(line - 2)), "Zoë.jpg,Zoë"][-line:])
    with pytest.raises(Invalid, match=rf"UTF-8: see line {line}\."):
        parsed(text.encode("cp1252"), 100_000)


def test_half_a_character_at_the_end_is_refused() -> None:
    with pytest.raises(Invalid, match="not text"):
        parsed("path\na.jpg".encode("utf-16")[:-1])


def test_further_columns_are_metadata_without_the_empty_cells() -> None:
    people = parsed('path,Team,person,note\na.jpg,red,,\nb.jpg,,Ben," two\nlines, ""so"""\nc.jpg\n')
    assert people.of("a.jpg") == Person(None, None, {"Team": "red"})
    assert people.of("b.jpg") == Person("Ben", None, {"note": 'two lines, "so"'})
    assert people.of("c.jpg") == Person(None, None, {})


def test_names_lose_what_cannot_be_seen() -> None:
    assert parsed("path,person\na.jpg,Ana \u202e\n").of("a.jpg") == Person("Ana", None, {})
    assert parsed("path,person\na.jpg,\u202eAna\0  Maria\x1b[2J\n").of("a.jpg") == Person(
        "Ana Maria[2J", None, {}
    )


def test_paths_begin_at_the_list_or_at_the_root() -> None:
    people = parsed("path,person\na.jpg,Ana\nx/b.jpg,Ben\nx/x/c.jpg,Cem\nd.jpg,Dan", folder="x")
    paths = ["x/a.jpg", "x/b.jpg", "x/x/c.jpg", "d.jpg"]
    assert [p and p.person for p in map(people.of, paths)] == ["Ana", "Ben", "Cem", "Dan"]
    assert people.unused(paths) == []


def test_rows_that_name_no_file_are_told_in_order() -> None:
    people = parsed("path\nz.jpg\na.jpg\nb/../y.jpg\n")
    assert people.unused(["a.jpg", "c.jpg"]) == ["z.jpg", "b/y.jpg"]


def test_a_row_may_be_said_again_but_not_otherwise() -> None:
    assert len(parsed("path,person\na.jpg,Ana\n./a.jpg, Ana\n")) == 1
    with pytest.raises(Invalid, match=r"Line 4 of people\.csv .*something else of the same path"):
        parsed("path,person\na.jpg,Ana\n\na.jpg,Ben\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'no column "path"'),
        ("file,person\na.jpg,Ana", 'no column "path"'),
        ("path,person,Person_Name\n", 'several columns "person"'),
        ("path,team,team\n", 'several columns "team"'),
        ("path," + "x" * 256, "Line 1 .* column's name"),
        ("path,person\na.jpg,Ana\n,Ben\n", "Line 3 .* no path"),
        ("path,person\n../,Ben\n", "Line 2 .* no path"),
        ("path,person\na.jpg,Ana,17\n", "Line 2 .* cell where no column has a name"),
        ("path,,person\na.jpg,17,Ana\n", "Line 2 .* cell where no column has a name"),
        ('path,person\na.jpg,"A\nna"\nb.jpg,"Ben\n', "Line 4 .* quotes"),
        ('path,person\na.jpg,"Ana" Maria\n', "Line 2 .* quotes"),
        (f"path,person\n{'a' * 1025},Ana\n", "Line 2 .* path has more than 1024"),
        (f"path,person\na.jpg,{'A' * 256}\n", "Line 2 .* person's name has more than 255"),
        (f"path,external_id\na.jpg,{'1' * 256}\n", "Line 2 .* external_id has more than 255"),
        (f"path,x,y\na.jpg,{'1' * 9000},{'2' * 9000}\n", "Line 2 .* more than 16384 bytes"),
        (f"path,x\na.jpg,{'1' * 140_000}\n", "Line 2 .* too long"),
        ('path,x\na.jpg,"' + "1\n" * 140_000, "Line 2 .* too long"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        parsed(text)


def test_a_list_has_limits() -> None:
    assert len(parsed("path\na\nb\n", most_rows=2)) == 2
    with pytest.raises(TooLarge, match="2 rows"):
        parsed("path\na\nb\nc\n", most_rows=2)
    with pytest.raises(TooLarge, match="64 columns"):
        parsed("path," + ",".join(f"c{n}" for n in range(64)))
    with pytest.raises(TooLarge, match="33554432 bytes"):
        parsed(b"\n" * (32 * MIB + 1))


def test_a_header_without_end_is_no_header() -> None:
    with pytest.raises(Invalid):
        parsed(b"path," * (2 * MIB))
    with pytest.raises(Invalid):
        parsed(b"x" * (8 * MIB))


def test_many_small_cells_take_little_memory() -> None:
    header = "path," + ",".join(f"column{n}" for n in range(63))
    data = "\n".join([header, *(f"{n}.jpg" + ",ab" * 63 for n in range(1_000))]).encode()
    tracemalloc.start()
    try:
        people = parsed(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(data)
    finally:
        tracemalloc.stop()
    person = people.of("999.jpg")
    assert person is not None
    assert person.metadata["column62"] == "ab"


@settings(max_examples=300, deadline=20_000)
@given(
    st.one_of(
        st.binary(max_size=300), st.text(max_size=300).map(lambda t: f"path;a\n{t}".encode(errors="replace"))
    )
)
def test_whatever_is_sent_ends_in_a_list_or_in_a_reason(data: bytes) -> None:
    with suppress(FacesearchError):
        people = parsed(data)
        assert len(people.unused([])) == len(people)


_cell = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cf", "Mn")), max_size=20)


@settings(max_examples=200, deadline=20_000)
@given(st.lists(st.tuples(_cell, _cell), max_size=20), st.sampled_from(",;\t"))
def test_what_pythons_csv_writes_is_read_as_it_was_meant(rows: list[tuple[str, str]], delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["path", "x"])
    writer.writerows((f"{n}.jpg", cell) for n, (cell, _) in enumerate(rows))
    people = parsed(text.getvalue().encode())
    for n, (cell, _) in enumerate(rows):
        found = people.of(f"{n}.jpg")
        assert found is not None
        assert bool(found.metadata) == bool(cell)
