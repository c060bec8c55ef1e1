import json
from pathlib import Path

from facesearch.config import DEFAULT_FILE, Settings

ROOT = Path(__file__).resolve().parents[2]


def test_config_json_holds_every_key_with_its_default() -> None:
    defaults = json.loads(Settings().model_dump_json())
    defaults["database"]["password"] = Settings().database.password.get_secret_value()
    assert json.loads((ROOT / "config.json").read_text()) == defaults


def test_the_default_file_is_the_one_at_the_top() -> None:
    assert DEFAULT_FILE == ROOT / "config.json"
