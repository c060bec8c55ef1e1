import pytest

from facesearch.service.names import base_name, person_and_version


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
