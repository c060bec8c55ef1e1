"""Settings from config.json and the environment, checked once and frozen.

Every key has its default here and stands in config.json. The environment overrides the file:
`FACESEARCH_DATABASE__PASSWORD` is the key `password` of `database`. Unknown keys are errors in both.
`FACESEARCH_CONFIG` names another file. Relative paths are relative to the file's folder.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from facesearch.errors import InvalidConfig

PREFIX = "FACESEARCH_"
CONFIG_VARIABLE = "FACESEARCH_CONFIG"
KEY_VARIABLE = "FACESEARCH_API_KEY"  # of clients, no setting
DEFAULT_FILE = Path(__file__).resolve().parent.parent / "config.json"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """Where the service listens, with how many processes, and how many requests each works on.

    A process works on `threads` requests at a time; others wait, `requests_in_flight` in all at most.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    threads: Annotated[int, Field(ge=1, le=256)] = 4
    requests_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 64


class DatabaseSettings(_Section):
    """Which database holds the truth. All but `engine` and `wait_s` count for MySQL and MariaDB only.

    `connections` is the most that one process holds; `wait_s` bounds the wait for a connection, a lock
    and an answer to a connection attempt.
    """

    engine: Literal["sqlite", "mysql"] = "sqlite"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3306
    user: str = "facesearch"
    password: SecretStr = SecretStr("")
    database: Annotated[str, Field(min_length=1, max_length=64)] = "facesearch"
    connections: Annotated[int, Field(ge=1, le=1000)] = 8
    wait_s: Annotated[float, Field(gt=0, le=600)] = 5.0


class EncoderSettings(_Section):
    """How faces are found and encoded.

    `model` is `dlib`, or the id of a model that `facesearch models` has installed. `engine` runs dlib's
    networks; both give the same vectors. `execution` is where ONNX Runtime runs the others, each run on
    `threads` threads. `kind` counts for empty galleries only: a
    gallery keeps the kind of its first face. A photo is reduced to `detect_pixels`, then doubled
    `upsample` times. With `look_twice`, enrolment looks without doubling first, and doubles only where
    nothing was found. `max_faces` keeps the largest of more.
    """

    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "dlib"
    engine: Literal["onnx", "dlib"] = "onnx"
    execution: Literal["cpu", "cuda", "openvino", "coreml"] = "cpu"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    kind: Literal["mirror", "plain"] = "mirror"
    detector: Literal["hog", "cnn", "centerface", "yunet"] = "hog"
    upsample: Annotated[int, Field(ge=0, le=3)] = 1
    detect_pixels: Annotated[int, Field(ge=10_000, le=100_000_000)] = 2_000_000
    min_face_px: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_faces: Annotated[int, Field(ge=1, le=10_000)] = 500
    look_twice: bool = True


class QualitySettings(_Section):
    """What a face's picture must have to be enrolled; null sets no limit."""

    min_size_px: Annotated[int, Field(ge=1)] | None = None
    min_score: float | None = None
    min_sharpness: Annotated[float, Field(ge=0)] | None = None
    min_brightness: Annotated[float, Field(ge=0, le=255)] | None = None
    max_brightness: Annotated[float, Field(ge=0, le=255)] | None = None
    max_roll_deg: Annotated[float, Field(ge=0, le=180)] | None = None
    max_yaw_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    max_pitch_deg: Annotated[float, Field(ge=0, le=90)] | None = None


class CropSettings(_Section):
    """Whether a crop of each face is kept, to be shown and encoded again with another model."""

    keep_crops: bool = False
    side_px: Annotated[int, Field(ge=64, le=1024)] = 256
    format: Literal["jpeg", "webp"] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100)] = 85


class SearchSettings(_Section):
    """Where a search runs, by stored faces, and what else it may do.

    `index`: `exact`, or `hnsw` for tens of millions of faces: sooner, and may miss a face; needs usearch.
    From `threads_from` faces on a search is spread over threads, one per core, where these are idle, and
    from `parallel_from` on over the pool's processes. `when_database_away`: `stale` answers from the copy,
    without names and marked; `unavailable` refuses.
    """

    index: Literal["exact", "hnsw"] = "exact"
    threads_from: Annotated[int, Field(ge=0)] = 500_000
    parallel_from: Annotated[int, Field(ge=0)] = 1_000_000_000
    when_database_away: Literal["stale", "unavailable"] = "stale"


class WorkerSettings(_Section):
    """The pool: processes per server process (0: one per core), a cap per host, time for one photo.

    A process that has grown beyond `memory_bytes` is replaced between two photos.
    """

    processes: Annotated[int, Field(ge=0, le=256)] = 8
    processes_per_host: Annotated[int, Field(ge=1, le=1024)] = 8
    task_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    memory_bytes: Annotated[int, Field(ge=64 * 1024**2)] = 1024**3


class IntakeSettings(_Section):
    """How archives become faces: jobs that a host works on at the same time, and how many more may wait.

    A job belongs to the process that renews its lease of `lease_s`; where that ends, another takes it over.
    A job that is over is forgotten after `keep_days`, and not before the first answer that names it, which
    lives a day. `old_routes_skip_duplicates`: whether /add_face/ and /add_faces_in_bulk/ leave out a photo
    whose bytes are stored already, as /v1/imports does.
    """

    imports_at_once: Annotated[int, Field(ge=1, le=64)] = 2
    imports_queued: Annotated[int, Field(ge=1, le=100_000)] = 100
    lease_s: Annotated[float, Field(ge=1, le=600)] = 15.0
    keep_days: Annotated[float, Field(ge=1, le=3650)] = 30.0
    old_routes_skip_duplicates: bool = False


class AccessSettings(_Section):
    """What counts for keys, and the log of what was changed.

    Each key may make `requests_per_minute` on one host (null: any number), `burst` of them at once. While the
    database is away, keys go on for `keys_trusted_s`. A log of `audit_bytes` is put aside; `audit_files` are
    kept.
    """

    requests_per_minute: Annotated[float, Field(gt=0, le=6_000_000)] | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    keys_trusted_s: Annotated[float, Field(ge=0, le=604_800)] = 900.0
    audit_bytes: Annotated[int, Field(ge=4096)] = 10 * 1024**2
    audit_files: Annotated[int, Field(ge=1, le=10_000)] = 10


class LimitSettings(_Section):
    """What is accepted at most: bytes as sent, pixels and the longer side as decoded.

    `zip_ratio` is how many times larger than the zip its files may be; archives inside an archive are not
    opened, which `zip_nesting` says.
    """

    photo_bytes: Annotated[int, Field(ge=1)] = 25 * 1024**2
    photo_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    photo_side: Annotated[int, Field(ge=1)] = 20_000
    zip_bytes: Annotated[int, Field(ge=1)] = 2 * 1024**3
    zip_entries: Annotated[int, Field(ge=1)] = 100_000
    zip_expanded_bytes: Annotated[int, Field(ge=1)] = 8 * 1024**3
    zip_ratio: Annotated[float, Field(ge=1)] = 200.0
    zip_nesting: Literal[0] = 0


class LogSettings(_Section):
    """What is told to whoever runs the service.

    Lines are `text`, or one `json` object each. A request that takes longer than `slow_ms`, or a statement
    of the database that takes longer than `slow_statement_ms`, is told as a warning; 0 tells all.
    `opentelemetry` sends a span for each request and stage; needs packages of its own.
    """

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    slow_ms: Annotated[float, Field(ge=0)] = 2000.0
    slow_statement_ms: Annotated[float, Field(ge=0)] = 500.0
    opentelemetry: bool = False


class Settings(_Section):
    """All settings. `data_dir` is absolute once `load_settings` has made it."""

    data_dir: Path = Path("facesearch-data")
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    encoder: EncoderSettings = EncoderSettings()
    quality: QualitySettings = QualitySettings()
    crops: CropSettings = CropSettings()
    search: SearchSettings = SearchSettings()
    workers: WorkerSettings = WorkerSettings()
    intake: IntakeSettings = IntakeSettings()
    access: AccessSettings = AccessSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read config.json, let the environment override it, and check the result.

    Args:
        environment: variables by name; the process's own by default.

    Raises:
        InvalidConfig: the file or a variable cannot be used; the message names the key.
    """
    variables = os.environ if environment is None else environment
    file = _file(variables)
    values = _read_file(file)
    for name, text in variables.items():
        if _is_setting(name):
            _override(values, name, text)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidConfig(_explain(error)) from None
    return settings.model_copy(update={"data_dir": file.parent / settings.data_dir})


def change_settings(
    section: str, changes: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> None:
    """Change keys of one section in the config file; all else that it holds stays, in its order.

    The file is replaced as a whole: whoever reads it meanwhile sees the old one or the new one.

    Args:
        section: such as `encoder`.
        changes: values by key.
        environment: as for `load_settings`.

    Raises:
        InvalidConfig: a variable overrides a key, the result cannot be used, or the file cannot be written.
    """
    variables = os.environ if environment is None else environment
    names = {f"{PREFIX}{section}__{key}".upper() for key in changes}
    overriding = sorted(name for name in variables if name.upper() in names)
    if overriding:
        raise InvalidConfig(f"{overriding[0]} in the environment overrides the config file: change it there.")
    file = _file(variables).resolve()
    values = _read_file(file)
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise InvalidConfig(f"{section} has no keys of its own in the config file {file}.")
    inner.update(changes)
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidConfig(_explain(error)) from None
    _replace(file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def where_from(environment: Mapping[str, str] | None = None) -> tuple[Path, list[str]]:
    """Return the config file, whether it is there or not, and the variables that override it."""
    variables = os.environ if environment is None else environment
    overriding = sorted(name for name in variables if _is_setting(name))
    return _file(variables), overriding


def _is_setting(variable: str) -> bool:
    return variable.startswith(PREFIX) and variable not in (CONFIG_VARIABLE, KEY_VARIABLE)


def _file(variables: Mapping[str, str]) -> Path:
    return Path(variables.get(CONFIG_VARIABLE) or DEFAULT_FILE).absolute()


def _replace(file: Path, text: str) -> None:
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
        ) as fresh:
            try:
                fresh.write(text)
                fresh.flush()
                os.fsync(fresh.fileno())
                shutil.copymode(file, fresh.name)
                os.replace(fresh.name, file)
            except BaseException:
                os.unlink(fresh.name)
                raise
    except OSError as error:
        raise InvalidConfig(f"The config file {file} cannot be written: {error.strerror}.") from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidConfig(f"There is no config file {file}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"The config file {file} cannot be read: {error}.") from None
    except json.JSONDecodeError as error:
        raise InvalidConfig(f"The config file {file} is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise InvalidConfig(f"The config file {file} must hold one JSON object.")
    return values


def _override(values: dict[str, Any], variable: str, text: str) -> None:
    """Set the key that a variable names; pydantic turns the text into the key's type later."""
    *sections, key = variable.removeprefix(PREFIX).lower().split("__")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise InvalidConfig(f"{variable} names no key: {section} has no keys of its own.")
        values = inner
    values[key] = text


def _explain(error: ValidationError) -> str:
    """Say which keys are wrong and why, without repeating a value: it may be a password."""
    reasons = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        unknown = problem["type"] == "extra_forbidden"
        reasons.append(f"{key}: {'unknown key' if unknown else problem['msg']}")
    return "The configuration cannot be used. " + "; ".join(reasons) + "."
