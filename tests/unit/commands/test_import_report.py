"""What an import came to, told in three ways."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.commands.import_report import Imported, ReportFile, Summary, described, printable
from facesearch.errors import Invalid
from facesearch.records import DONE, FAILED, Box, FileReport, ReportedFace
from facesearch.report_table import COLUMNS

FACE = ReportedFace(Box(1, 4, 3, 2), 7)
REPORTS = [
    FileReport("a.jpg", "inserted", 7, "Ada", faces=(FACE,)),
    FileReport("b.jpg", "duplicate", 7, reason="Stored.", duplicate_of=7),
    *(FileReport(f"{n}.jpg", "failed", reason="Damaged.") for n in range(6)),
    FileReport("n.jpg", "no_face", reason="No face was found in the photo."),
]


def imported(*reports: FileReport, state: str = DONE, error: str | None = None) -> Imported:
    statuses = [report.status for report in reports]
    return Imported(
        ("j",), state, len(reports), {s: statuses.count(s) for s in set(statuses)}, iter(reports), error
    )


def told(summary: Summary, file: ReportFile | None = None) -> list[str]:
    summary.read(file)
    return summary.sentences()


def test_a_summary_names_the_first_that_went_wrong_and_how_to_see_the_others() -> None:
    assert told(Summary("lfw", imported(*REPORTS), 4.5)) == [
        "9 files of lfw in 4.5 s, 2.0 a second: 1 inserted, 1 duplicate, 1 without a face, 6 failed.",
        "  0.jpg: Damaged.",
        "  1.jpg: Damaged.",
        "  2.jpg: Damaged.",
        "  3.jpg: Damaged.",
        "  4.jpg: Damaged.",
        "  and 2 more; --report FILE.csv writes down what became of each file.",
    ]


def test_a_summary_names_what_failed_before_photos_without_a_face() -> None:
    faceless = [FileReport(f"n{n}.jpg", "no_face", reason="No face.") for n in range(6)]
    failed = [FileReport(f"f{n}.jpg", "failed", reason="Damaged.") for n in range(2)]
    assert told(Summary("lfw", imported(*faceless, *failed), 0.5))[1:] == [
        "  f0.jpg: Damaged.",
        "  f1.jpg: Damaged.",
        "  n0.jpg: No face.",
        "  n1.jpg: No face.",
        "  n2.jpg: No face.",
        "  and 3 more; --report FILE.csv writes down what became of each file.",
    ]


def test_no_more_reports_are_asked_for_than_are_shown() -> None:
    def reports() -> Iterator[FileReport]:
        yield FileReport("f.jpg", "failed", reason="Damaged.")
        raise AssertionError

    summary = Summary("a.zip", Imported(("j",), DONE, 9, {"failed": 1, "inserted": 8}, reports()), 1.0)
    assert told(summary)[1:] == ["  f.jpg: Damaged."]


def test_a_summary_of_what_went_well_is_a_line() -> None:
    assert told(Summary("a.zip", imported(REPORTS[0]), 0.2)) == ["1 file of a.zip in 0.2 s: 1 inserted."]
    assert told(Summary("a.zip", imported(), 0.2)) == ["There are no files in a.zip."]


def test_a_summary_tells_how_far_an_import_came_that_failed() -> None:
    end = Imported(("j",), FAILED, 5000, {"inserted": 1200}, [], "No.")
    assert told(Summary("a.zip", end, 3725))[0] == (
        "1,200 of 5,000 files of a.zip in 1 h 2 min, 0.3 a second: 1,200 inserted."
    )


def test_reports_of_what_went_well_are_not_asked_for() -> None:
    def reports() -> Iterator[FileReport]:
        raise AssertionError
        yield

    summary = Summary("a.zip", Imported(("j",), DONE, 2, {"inserted": 2}, reports()), 1.0)
    assert len(told(summary)) == 1


def test_the_report_has_a_line_per_file(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("an earlier report\n" * 100)
    with ReportFile(path) as file:
        assert path.read_text().startswith("an earlier report")
        lines = told(Summary("lfw", imported(*REPORTS), 4.5, path), file)
    assert lines[-2] == "  and 2 more."
    assert lines[-1] == f"What became of each file is in {path}."
    with path.open(newline="") as written:
        rows = list(csv.reader(written))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 1 + len(REPORTS)
    assert rows[1][:6] == ["a.jpg", "inserted", "7", "Ada", "", ""]
    assert json.loads(rows[1][6]) == [{"id": 7, "box": {"top": 1, "right": 4, "bottom": 3, "left": 2}}]
    assert rows[2] == ["b.jpg", "duplicate", "7", "", "Stored.", "7", ""]


def test_the_report_of_nothing_has_its_first_line(tmp_path: Path) -> None:
    with ReportFile(tmp_path / "r.csv") as file:
        told(Summary("lfw", imported(), 1), file)
    assert (tmp_path / "r.csv").read_text().strip() == ",".join(COLUMNS)


def test_a_report_is_no_formula_and_takes_any_name(tmp_path: Path) -> None:
    with ReportFile(tmp_path / "r.csv") as file:
        file.add(FileReport("=HYPERLINK(1)\udcff.jpg", "failed", reason='a "b", c'))
        file.end()
    row = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()[1]
    assert row == '\'=HYPERLINK(1)\\udcff.jpg,failed,,,"a ""b"", c",,'


def test_a_report_that_cannot_be_written_is_refused_before_the_import(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file or directory"):
        ReportFile(tmp_path / "missing" / "r.csv")


def test_a_report_without_room_does_not_hide_that_the_photos_are_imported() -> None:
    with (
        ReportFile(Path("/dev/full")) as file,
        pytest.raises(Invalid, match=r"photos are imported.*No space"),
    ):
        told(Summary("lfw", imported(*REPORTS), 1), file)


def test_programs_get_an_object() -> None:
    summary = Summary("lfw", imported(*REPORTS[-2:], state=FAILED, error="No."), 1.23456)
    summary.read(None)
    assert summary.as_json() == {
        "source": "lfw",
        "service": None,
        "state": "failed",
        "error": "No.",
        "jobs": ["j"],
        "total": 2,
        "counts": {"inserted": 0, "no_face": 1, "duplicate": 0, "failed": 1, "skipped": 0},
        "seconds": 1.235,
        "first_failures": [
            {"path": "5.jpg", "status": "failed", "reason": "Damaged."},
            {"path": "n.jpg", "status": "no_face", "reason": "No face was found in the photo."},
        ],
        "report": None,
    }


def test_counts_that_are_none_are_not_told() -> None:
    assert described({"inserted": 1234, "duplicate": 2, "failed": 0}) == "1,234 inserted, 2 duplicates"
    assert described({}) == ""


def test_names_do_not_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\n\u202e.jpg") == "a\ufffd[2Jb\ufffd\ufffd.jpg"
