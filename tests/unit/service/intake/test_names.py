import pytest

from facesearch.errors import InvalidParameter
from facesearch.service.intake.names import (
    base_name,
    given_name,
    person_and_version,
    readable_path,
    version_of,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Aaron_Eckhart_0001.jpg", ("Aaron Eckhart", "0001")),
        ("Ana_Isabel_Sanchez_0012.JPEG", ("Ana Isabel Sanchez", "0012")),
        ("Бьорк_Гудмундсдоттир_0003.png", ("Бьорк Гудмундсдоттир", "0003")),
        ("王小明_0001.heic", ("王小明", "0001")),
        ("folder/Aaron_Eckhart_0001.jpg", ("Aaron Eckhart", "0001")),
        ("Cher_0001.jpg", ("Cher", "0001")),
        ("Aaron.jpg", ("Aaron", "")),
        ("Aaron_Eckhart.jpg", ("Aaron Eckhart", "")),
        ("no_suffix", ("no suffix", "")),
        ("_0001.jpg", ("0001", "")),
        (".jpg", (".jpg", "")),
        ("Ana_12345.jpg", ("Ana 12345", "")),
    ],
)
def test_a_file_name_gives_person_and_version(path: str, expected: tuple[str, str]) -> None:
    assert person_and_version(path) == expected


def test_a_photo_without_a_number_is_named_by_its_folder() -> None:
    assert person_and_version("team/Aaron Eckhart/on the beach.jpg") == ("Aaron Eckhart", "")


def test_the_only_top_folder_names_nobody() -> None:
    assert person_and_version("photos/Aaron.jpg", only_top_folder="photos") == ("Aaron", "")
    assert person_and_version("photos/Ana/x.jpg", only_top_folder="photos") == ("Ana", "")


def test_a_camera_counter_is_no_name() -> None:
    assert person_and_version("Ana/IMG_4120.JPG") == ("Ana", "")
    assert person_and_version("IMG_4120.JPG") == ("IMG 4120", "")


def test_both_spellings_of_an_accent_are_one_name() -> None:
    assert person_and_version("Zoe\u0308_0001.jpg") == person_and_version("Zo\u00eb_0001.jpg")


def test_control_characters_leave_a_name() -> None:
    assert person_and_version("Ana\x1b[2J_0001.jpg")[0] == "Ana[2J"


def test_a_base_name_has_no_folder_of_any_system() -> None:
    assert base_name("C:\\photos\\Ana_0001.jpg") == "Ana_0001.jpg"
    assert base_name("../../etc/Ana_0001.jpg") == "Ana_0001.jpg"
    assert base_name("") == ""


@pytest.mark.parametrize("path", ["..", "../..", "C:\\", "/", ".", ""])
def test_a_path_to_nothing_names_nothing(path: str) -> None:
    assert base_name(path) == readable_path(path) == ""


@pytest.mark.parametrize(
    "path", ["../Ana_0001.jpg", "C:Ana_0001.jpg", "..\\Ana_0001.jpg", "/../Ana_0001.jpg"]
)
def test_a_path_that_leads_elsewhere_names_the_person_alone(path: str) -> None:
    assert person_and_version(path) == ("Ana", "0001")
    assert person_and_version(path.replace("_0001", "")) == ("Ana", "")


def test_a_name_has_no_characters_that_turn_text_or_cannot_be_stored() -> None:
    assert person_and_version("\u202eAna\u2069\ud800_0001.jpg")[0] == "Ana\ufffd"
    assert person_and_version("نیلوفر\u200cی_0001.jpg")[0] == "نیلوفر\u200cی"


@pytest.mark.parametrize(
    "path", ["Ana\u200b_0001.jpg", "\u200eAna_0001\u200e.jpg", "A\u00adna_0001.jpg", "Ana\u200d_0001.jpg"]
)
def test_what_nobody_sees_of_a_path_is_no_part_of_the_name(path: str) -> None:
    assert person_and_version(path) == ("Ana", "0001")


@pytest.mark.parametrize(
    ("path", "name"),
    [("\u200b/Ana.jpg", "Ana"), ("Ana/\u3164.jpg", "Ana"), ("\u200b.jpg", ".jpg"), ("\u200b", "")],
)
def test_what_shows_nothing_names_nobody(path: str, name: str) -> None:
    assert person_and_version(path) == (name, "")


def test_a_name_of_more_characters_than_can_be_stored_is_an_error() -> None:
    assert person_and_version(f"{'A' * 255}.jpg")[0] == "A" * 255
    for path in (f"{'A' * 256}.jpg", f"{'A' * 256}_0001.jpg", f"{'A' * 256}/x.jpg"):
        with pytest.raises(InvalidParameter, match="file's name or folder, has more than 255"):
            person_and_version(path)
    assert version_of(f"{'A' * 256}_0001.jpg") == "0001"


def test_a_name_is_composed_after_all_that_is_not_shown_has_left_it() -> None:
    assert person_and_version("Zoe\u202e\u0308_0001.jpg")[0] == "Zo\u00eb"


@pytest.mark.parametrize("path", ["Ana/\u2003.jpg", " .jpg", "\u2003_.jpg", "\x00 \x00.jpg"])
def test_no_name_has_a_blank_at_either_end(path: str) -> None:
    name = person_and_version(path)[0]
    assert name == name.strip()


@pytest.mark.parametrize("name", ["Ana", "Zo\u00eb O'Neil", "نیلوفر\u200cی", "人" * 255, "👩\u200d🚀", ""])
def test_a_name_that_is_shown_as_it_is_may_be_given(name: str) -> None:
    assert given_name(name) == name


def test_a_name_may_be_given_in_any_form() -> None:
    assert given_name("Zoe\u0308") == "Zo\u00eb"


@pytest.mark.parametrize(
    "name", [" Ana", "Ana ", "\u00a0", "A\na", "A\x00na", "\x1b[2J", "\u202eanA", "\ud800"]
)
def test_a_name_that_would_be_shown_as_another_is_refused(name: str) -> None:
    with pytest.raises(InvalidParameter, match="no control character"):
        given_name(name)
