"""The command `import` of `python3 -m facesearch`: photos, and encodings made elsewhere, into the gallery."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from facesearch.commands.collection_options import collection_option
from facesearch.commands.import_report import Imported, ReportFile, Summary, printable
from facesearch.commands.member_bar import MemberBar
from facesearch.commands.printing import counted
from facesearch.config import load_settings
from facesearch.errors import FacesearchError, Invalid, TooLarge
from facesearch.records import DEFAULT_COLLECTION, DONE, FILE_STATUSES, ImportOptions, Job

if TYPE_CHECKING:
    from facesearch.commands.import_bar import ImportBar

_ENCODINGS = frozenset({".npy", ".npz", ".pickle", ".pkl", ".dat", ".p"})
_FOR_ENCODINGS = {"names_file": "--names", "allow_pickle": "--pickle"}
_FOR_PHOTOS = {
    "faces": "--faces",
    "duplicates": "--duplicates",
    "url": "--url",
    "key": "--key",
    "report": "--report",
}
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
# A part is on the disk while it is sent, and is sent again where its connection breaks off.
_FILES_A_PART, _BYTES_A_PART = 1_000, 128 * 1024**2
_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_GOES_ON = "What is stored stays. The same command goes on: photos that are stored are skipped."
_STORES_AGAIN = "What is stored stays. To go on without storing it again, leave out --duplicates store."


@click.command("import", short_help="Import photos, or encodings of face_recognition.")
@click.argument("source", metavar="FOLDER|ZIP|FILE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--faces",
    type=click.Choice(["largest", "all", "single"]),
    default="largest",
    show_default=True,
    help="Which faces of a photo are stored; `single` refuses photos with several.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["skip", "store"]),
    default="skip",
    show_default=True,
    help="What becomes of a photo whose bytes are stored already.",
)
@collection_option
@click.option(
    "--url", metavar="URL", help="A running service to import into.  [default: the database itself]"
)
@click.option("--key", metavar="KEY", help="The key that the service wants.  [default: FACESEARCH_API_KEY]")
@click.option(
    "--report",
    metavar="FILE.csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write down what became of each file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option(
    "--names",
    "names_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with a name per line, or CSV with a column `name`, in the order of the encodings.",
)
@click.option("--pickle", "allow_pickle", is_flag=True, help="Read a pickle; only arrays and plain types.")
@click.pass_context
def import_gallery(
    context: click.Context,
    source: Path,
    faces: str,
    duplicates: str,
    collection: str | None,
    url: str | None,
    key: str | None,
    report: Path | None,
    as_json: bool,
    names_file: Path | None,
    allow_pickle: bool,
) -> None:
    """Import the photos of a FOLDER or a ZIP, an exported collection, or a gallery of face_recognition.

    Names come from people.csv in it (path, person, external_id; further columns become metadata), else from
    names such as Ada_Lovelace_0001.jpg, or from the folder that a photo lies in. What went wrong with a file
    costs the others nothing.

    It may be interrupted, and repeated: photos that are stored already are skipped. Ends with 1 where a file
    failed; photos without a face and duplicates are no failure.

    A gallery of face_recognition is a .npy, .npz or pickle FILE of encodings, with their names. They are
    `plain` vectors; an empty gallery becomes a plain one, a mirror gallery refuses them.

    A ZIP that `export` has written goes whole into a collection that is empty, or is made; with no service
    between, so without --url.
    """
    name = collection or DEFAULT_COLLECTION
    if source.suffix.lower() in _ENCODINGS and source.is_file():
        _refuse_options(context, _FOR_PHOTOS, f"{source.name} holds encodings")
        _import_encodings(source, names_file, allow_pickle, name, as_json)
        return
    if source.is_file() and _is_export(source):
        for_others = {**_FOR_PHOTOS, **_FOR_ENCODINGS}
        _refuse_options(context, for_others, f"{source.name} is an exported collection")
        _import_export(source, name, as_json)
        return
    _refuse_options(context, _FOR_ENCODINGS, f"{source.name} holds photos")
    if not source.is_dir() and not _is_zip(source):
        file = printable(source.name)
        raise Invalid(
            f"{file} is no folder, no zip of photos, and no .npy, .npz or pickle file of encodings."
        )
    options = ImportOptions(faces, skip_duplicates=duplicates == "skip", collection=name)
    if key is not None and url is None:
        raise click.UsageError("--key goes with --url.")
    # Where none is named, a service takes the key's own.
    service = None if url is None else _Service(url, key, collection)
    _import_photos(source, options, service, report, as_json)


@dataclass(frozen=True, slots=True)
class _Service:
    """Where photos are sent: a service, and the collection there, None for the key's own."""

    url: str
    key: str | None
    collection: str | None


def _import_encodings(
    file: Path, names_file: Path | None, allow_pickle: bool, collection: str, as_json: bool
) -> None:
    # Here, not above: `serve` needs none of it, and numpy's threads are limited before it is loaded.
    from facesearch.bootstrap import import_encodings  # noqa: PLC0415

    stored, known = import_encodings(load_settings(), file, names_file, allow_pickle, collection)
    if as_json:
        told = {"collection": collection, "file": file.name, "faces": known, "inserted": stored}
        click.echo(json.dumps(told, indent=2))
        return
    before = f"; {known - stored} were stored already" if stored < known else ""
    click.echo(f"Imported {stored} faces from {file.name}{before}.")


def _is_export(file: Path) -> bool:
    from facesearch.bootstrap.exporting import is_export  # noqa: PLC0415

    return _is_zip(file) and is_export(load_settings(), file)


def _import_export(file: Path, collection: str, as_json: bool) -> None:
    from facesearch.bootstrap.exporting import import_export  # noqa: PLC0415

    with MemberBar(sys.stderr.isatty() and not as_json) as bar:
        told = import_export(load_settings(), file, collection, bar.show)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    what = f"{counted(told['faces'], 'face')} and {counted(told['people'], 'person', 'people')}"
    click.echo(f"Imported {what} from {printable(file.name)} into {printable(collection)}.")


def _import_photos(
    source: Path,
    options: ImportOptions,
    service: _Service | None,
    report: Path | None,
    as_json: bool,
) -> None:
    from facesearch.commands.import_bar import ImportBar  # noqa: PLC0415

    started = time.monotonic()
    try:
        with ExitStack() as stack:
            file = stack.enter_context(ReportFile(report)) if report else None
            bar = stack.enter_context(ImportBar(sys.stderr.isatty() and not as_json))
            if service is None:
                imported = _import_directly(source, options, bar)
            else:
                imported = stack.enter_context(_import_remotely(source, options, service, bar))
            name = printable(source.resolve().name or str(source))
            summary = Summary(name, imported, time.monotonic() - started, report)
            summary.read(file)
    except KeyboardInterrupt as interrupt:
        click.echo(f"Interrupted. {interrupt}".strip(), err=True)
        click.echo(_GOES_ON if options.skip_duplicates else _STORES_AGAIN, err=True)
        sys.exit(_INTERRUPTED)
    except OSError as error:
        raise Invalid(f"{printable(source.name)} cannot be imported: {error.strerror}.") from None
    click.echo(json.dumps(summary.as_json(), indent=2) if as_json else "\n".join(summary.sentences()))
    if imported.state != DONE:
        raise FacesearchError(imported.error)
    if imported.counts.get("failed"):
        sys.exit(1)


def _import_directly(source: Path, options: ImportOptions, bar: "ImportBar") -> Imported:
    from facesearch.bootstrap import import_photos  # noqa: PLC0415

    def show(job: Job) -> None:
        bar.files(job.total, job.counts)

    job, files = import_photos(load_settings(), source, options, show)
    bar.files(job.total, job.counts)
    counts = {status: job.counts.get(status, 0) for status in FILE_STATUSES}
    return Imported((job.id,), job.state, job.total, counts, files, job.error)


@contextmanager
def _import_remotely(
    source: Path, options: ImportOptions, where: _Service, bar: "ImportBar"
) -> Iterator[Imported]:
    """Import into a service, and stay connected to it while the reports are read."""
    from facesearch.bootstrap import Part, folder_to_send  # noqa: PLC0415
    from facesearch.commands.remote_import import RemoteImport  # noqa: PLC0415
    from facesearch.commands.remote_service import RemoteService  # noqa: PLC0415

    with closing(RemoteService(where.url, bar.waiting, key=where.key)) as service:
        limits = service.limits()
        if not source.is_dir():
            with source.open("rb") as archive:
                _check_size(source, limits.zip_bytes)
                sending = RemoteImport(service, options, None, bar.files, bar.sending, where.collection)
                yield sending.run([Part(source.name, archive, {})])
            return
        most_files = min(_FILES_A_PART, max(1, limits.zip_entries // 2))
        most_bytes = min(_BYTES_A_PART, limits.zip_bytes // 2, limits.zip_expanded_bytes // 2)
        with folder_to_send(source, limits.photo_bytes, most_files, most_bytes) as parts:
            sending = RemoteImport(service, options, len(parts), bar.files, bar.sending, where.collection)
            yield sending.run(parts)


def _check_size(file: Path, most_bytes: int) -> None:
    size = file.stat().st_size
    if size > most_bytes:
        raise TooLarge(
            f"{file.name} has {size:,} bytes, and the service takes archives of {most_bytes:,}. "
            "Unpacked, as a folder, its photos are sent in parts."
        )


def _refuse_options(context: click.Context, options: Mapping[str, str], reason: str) -> None:
    """Refuse options that say nothing about what is imported; ignoring them would surprise."""
    for name, option in options.items():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option} does not go with that: {reason}.")


def _is_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return file.suffix.lower() == ".zip" or opened.read(4) in _ZIP_MAGIC
