import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from facesearch.config import DEFAULT_FILE, Settings, change_settings, load_settings
from facesearch.errors import InvalidConfig

Write = Callable[[Any], dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a config file, as JSON or as the text it is given, and returns the environment that names it."""

    def write_file(content: Any) -> dict[str, str]:
        file = tmp_path / "config.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return {"FACESEARCH_CONFIG": str(file)}

    return write_file


def test_the_default_file_gives_the_defaults() -> None:
    settings = load_settings({})
    assert settings.model_copy(update={"data_dir": Settings().data_dir}) == Settings()


def test_an_empty_file_gives_the_defaults(write: Write) -> None:
    assert load_settings(write({})).server == Settings().server


def test_the_file_sets_a_key_and_leaves_its_neighbours(write: Write) -> None:
    server = load_settings(write({"server": {"port": 9000}})).server
    assert (server.port, server.host) == (9000, "127.0.0.1")


def test_the_environment_overrides_the_file(write: Write) -> None:
    environment = write({"server": {"port": 9000}, "search": {"parallel_from": 5}})
    environment |= {"FACESEARCH_SERVER__PORT": "9001", "FACESEARCH_DATABASE__PASSWORD": "s3cret"}
    settings = load_settings(environment)
    assert settings.server.port == 9001
    assert settings.search.parallel_from == 5
    assert settings.database.password.get_secret_value() == "s3cret"


def test_a_key_at_the_top_is_overridden(write: Write, tmp_path: Path) -> None:
    assert load_settings(write({}) | {"FACESEARCH_DATA_DIR": "/srv/faces"}).data_dir == Path("/srv/faces")


def test_other_variables_are_none_of_our_business(write: Write) -> None:
    assert load_settings(write({}) | {"PATH": "/bin", "SERVER__PORT": "1"}).server.port == 8000


def test_the_process_environment_is_read_where_none_is_given(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (write({}) | {"FACESEARCH_SERVER__THREADS": "9"}).items():
        monkeypatch.setenv(name, value)
    assert load_settings().server.threads == 9


@pytest.mark.parametrize("data_dir", ["facesearch-data", "../elsewhere"])
def test_a_relative_folder_is_relative_to_the_file(write: Write, tmp_path: Path, data_dir: str) -> None:
    assert load_settings(write({"data_dir": data_dir})).data_dir == tmp_path / data_dir


def test_the_default_data_lies_beside_config_json() -> None:
    assert load_settings({}).data_dir == DEFAULT_FILE.parent / "facesearch-data"


def test_a_file_named_relatively_gives_an_absolute_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({})
    monkeypatch.chdir(tmp_path)
    assert load_settings({"FACESEARCH_CONFIG": "config.json"}).data_dir == tmp_path / "facesearch-data"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"colour": 1}, "colour: unknown key"),
        ({"server": {"prot": 1}}, "server.prot: unknown key"),
        ({"server": {"port": 70000}}, "server.port"),
        ({"server": {"port": "many"}}, "server.port"),
        ({"database": {"engine": "oracle"}}, "database.engine"),
        ({"database": {"wait_s": 0}}, "database.wait_s"),
        ({"encoder": {"upsample": -1}}, "encoder.upsample"),
        ({"intake": {"keep_days": 0.5}}, "intake.keep_days"),
        ({"limits": None}, "limits"),
    ],
)
def test_a_wrong_key_is_named(write: Write, content: object, key: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_settings(write(content))
    assert key in caught.value.message


def test_all_wrong_keys_are_named_at_once(write: Write) -> None:
    with pytest.raises(InvalidConfig, match=r"server\.port.*search\.parallel_from"):
        load_settings(write({"server": {"port": -1}, "search": {"parallel_from": -1}}))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("FACESEARCH_COLOUR", "colour: unknown key"),
        ("FACESEARCH_SERVER__PROT", "server.prot: unknown key"),
        ("FACESEARCH_DATA_DIR__X", "data_dir has no keys of its own"),
        ("FACESEARCH_SERVER", "server"),
    ],
)
def test_a_wrong_variable_is_named(write: Write, name: str, key: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_settings(write({"data_dir": "here"}) | {name: "1"})
    assert key in caught.value.message


def test_a_wrong_value_is_not_repeated(write: Write) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_settings(write({"database": {"password": ["hunter2"], "port": "hunter2"}}))
    assert "hunter2" not in caught.value.message


def test_a_password_is_not_printed() -> None:
    settings = load_settings({"FACESEARCH_DATABASE__PASSWORD": "hunter2"})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"text"'])
def test_a_file_that_holds_no_object_is_an_error(write: Write, text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"JSON"):
        load_settings(write(text))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no config file"):
        load_settings({"FACESEARCH_CONFIG": str(tmp_path / "none.json")})


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load_settings({"FACESEARCH_CONFIG": str(tmp_path)})


def test_a_file_of_bytes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        load_settings({"FACESEARCH_CONFIG": str(tmp_path / "config.json")})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().server.port = 1


def test_a_changed_key_leaves_all_others_in_their_order(write: Write, tmp_path: Path) -> None:
    environment = write(
        {"server": {"port": 9000}, "encoder": {"upsample": 2, "kind": "plain"}, "data_dir": "ü"}
    )
    change_settings("encoder", {"kind": "mirror", "model": "sface"}, environment)
    content = json.loads((tmp_path / "config.json").read_text())
    assert content == {
        "server": {"port": 9000},
        "encoder": {"upsample": 2, "kind": "mirror", "model": "sface"},
        "data_dir": "ü",
    }
    assert [list(content), list(content["encoder"])] == [
        ["server", "encoder", "data_dir"],
        ["upsample", "kind", "model"],
    ]
    assert load_settings(environment).encoder.model == "sface"


def test_a_section_that_the_file_does_not_have_is_added(write: Write) -> None:
    environment = write({})
    change_settings("encoder", {"model": "sface"}, environment)
    assert load_settings(environment).encoder.model == "sface"


def test_a_changed_file_keeps_its_mode_and_its_link(write: Write, tmp_path: Path) -> None:
    write({})
    file, link = tmp_path / "config.json", tmp_path / "link.json"
    file.chmod(0o640)
    link.symlink_to(file)
    change_settings("encoder", {"model": "sface"}, {"FACESEARCH_CONFIG": str(link)})
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "link.json"]


@pytest.mark.parametrize(
    ("content", "changes", "variables", "reason"),
    [
        ({}, {"model": "NO!"}, {}, "encoder.model"),
        ({}, {"color": "blue"}, {}, "encoder.color: unknown key"),
        ({"encoder": 7}, {"model": "sface"}, {}, "encoder has no keys"),
        ({}, {"model": "sface"}, {"FACESEARCH_ENCODER__MODEL": "dlib"}, "FACESEARCH_ENCODER__MODEL"),
    ],
)
def test_a_change_that_cannot_hold_leaves_the_file_as_it_is(
    write: Write,
    tmp_path: Path,
    content: Any,
    changes: dict[str, str],
    variables: dict[str, str],
    reason: str,
) -> None:
    environment = write(content) | variables
    with pytest.raises(InvalidConfig, match=reason):
        change_settings("encoder", changes, environment)
    assert json.loads((tmp_path / "config.json").read_text()) == content


def test_a_file_that_cannot_be_replaced_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*paths: Any) -> None:
        raise PermissionError(13, "Permission denied")

    environment = write({})
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InvalidConfig, match="cannot be written"):
        change_settings("encoder", {"model": "sface"}, environment)
    assert [path.name for path in Path(environment["FACESEARCH_CONFIG"]).parent.iterdir()] == ["config.json"]


def test_a_client_s_key_in_the_environment_is_no_setting(write: Write) -> None:
    environment = write({}) | {"FACESEARCH_API_KEY": "fs_x"}
    assert load_settings(environment).model_copy(update={"data_dir": Settings().data_dir}) == Settings()
