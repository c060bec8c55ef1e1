"""The commands of `python3 -m facesearch jobs`: imports, how they go on, and what became of their files."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import click

from facesearch.commands.import_report import ReportFile, described
from facesearch.commands.printing import as_object, moment
from facesearch.commands.remote_options import check_key, service_at, service_options
from facesearch.commands.remote_service import RemoteService
from facesearch.commands.terminal import paragraph, table
from facesearch.commands.text_arguments import COLLECTION
from facesearch.config import load_settings
from facesearch.errors import Unavailable
from facesearch.records import REENCODING, FileReport

_INDENT = 14
_COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow"}

job_argument = click.argument("job_id", metavar="ID")


class Jobs(Protocol):
    """Where jobs are told of, in the shapes of /v1/jobs."""

    def jobs(self, limit: int, collection: str | None) -> list[dict[str, Any]]:
        """The newest first, of a collection or of all."""

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""

    def files(self, job_id: str) -> Iterator[FileReport]:
        """What became of its files."""

    def cancel(self, job_id: str) -> dict[str, Any]:
        """The job, cancelled."""


@click.group(short_help="List, follow and cancel imports, and their reports.")
def jobs() -> None:
    """Imports and reencodings as jobs: list, follow and cancel them, and tell what became of their files."""


@jobs.command("list", short_help="List jobs, the newest first.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most."
)
@click.option(
    "--collection", metavar="NAME", type=COLLECTION, help="Those of this collection.  [default: of all]"
)
@service_options
@as_object
def list_jobs(limit: int, collection: str | None, url: str | None, key: str | None, as_json: bool) -> None:
    """List jobs, the newest first; with a key of one collection, those of that."""
    with _opened(url, key) as source:
        found = source.jobs(limit, collection)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("There are no jobs.")
        return
    now = datetime.now(UTC)
    rows = [
        [
            job["id"],
            job["state"],
            f"{job['done']:,}/{job['counts']['total']:,}",
            _ago(job["created_at"], now),
            f"{REENCODING}: {job['file_name']}" if _is_reencoding(job) else job["file_name"],
        ]
        for job in found
    ]
    click.echo("\n".join(table(["id", "state", "files", "created", "what"], rows, right={2}, shrinks=4)))


@jobs.command(short_help="Tell how a job goes on.")
@job_argument
@service_options
@as_object
def show(job_id: str, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell how the job ID goes on."""
    with _opened(url, key) as source:
        job = source.job(job_id)
    click.echo(json.dumps(job, indent=2) if as_json else "\n".join(_told(job)))


@jobs.command(short_help="Cancel a job.")
@job_argument
@service_options
@as_object
def cancel(job_id: str, url: str | None, key: str | None, as_json: bool) -> None:
    """Cancel the job ID; what it has stored stays."""
    with _opened(url, key) as source:
        job = source.cancel(job_id)
    if as_json:
        click.echo(json.dumps(job, indent=2))
    else:
        stored = job["counts"]["inserted"]
        click.echo(f"The job is cancelled. What it has stored stays: {stored:,} of its files.")


@jobs.command(short_help="Tell what became of a job's files.")
@job_argument
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report into a file, as /v1/jobs/ID/report.csv has it.",
)
@service_options
@as_object
def report(job_id: str, csv_file: Path | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell what became of each file of the job ID so far."""
    with _opened(url, key) as source:
        files = _begun(source.files(job_id))
        if csv_file is not None:
            count = _written(files, csv_file)
            told = {"report": str(csv_file), "files": count}
            click.echo(json.dumps(told, indent=2) if as_json else f"{csv_file} has {count:,} files.")
        elif as_json:
            click.echo(json.dumps([asdict(file) for file in files], indent=2))
        else:
            rows = [[file.status, file.path, file.person_name or "", file.reason or ""] for file in files]
            click.echo("\n".join(_reported(rows)))


class _RemoteJobs:
    """Jobs as a service tells of them. Lives for one command."""

    def __init__(self, service: RemoteService) -> None:
        self._service = service

    def jobs(self, limit: int, collection: str | None) -> list[dict[str, Any]]:
        found = self._service.ask("GET", "v1/jobs", {"limit": limit, "collection": collection}).get("jobs")
        if not isinstance(found, list):
            raise Unavailable(f"What {self._service.name} answers is not understood: is it a facesearch?")
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        return self._service.ask("GET", f"v1/jobs/{quote(job_id, safe='')}")

    def files(self, job_id: str) -> Iterator[FileReport]:
        return self._service.files(quote(job_id, safe=""))

    def cancel(self, job_id: str) -> dict[str, Any]:
        return self._service.ask("DELETE", f"v1/jobs/{quote(job_id, safe='')}")


@contextmanager
def _opened(url: str | None, key: str | None) -> Iterator[Jobs]:
    check_key(url, key)
    if url is not None:
        with closing(service_at(url, key)) as service:
            yield _RemoteJobs(service)
        return
    # Here, not above: numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.direct import StoredJobs  # noqa: PLC0415

    yield StoredJobs(load_settings())


def _told(job: dict[str, Any]) -> list[str]:
    counts = job["counts"]
    state = click.style(job["state"], fg=_COLOURS.get(job["state"]), bold=True)
    if job["state"] == "running" and job["rate"]:
        state += f", {job['rate']:,.1f} files a second"
        state += "" if job["left_s"] is None else f", about {job['left_s']:,.0f} s left"
    what = described({name: number for name, number in counts.items() if name != "total"}) or "none done"
    done = f"{job['done']:,} of {counts['total']:,}: {what}"
    if _is_reencoding(job):
        about = {"vectors": job["file_name"], "faces": done}
    else:
        about = {
            "archive": job["file_name"] or "(no name)",
            "faces": f"{job['faces']} of each photo; duplicates: {job['duplicates']}",
            "files": done,
        }
    fields = {
        "kind": job.get("kind"),
        "collection": job.get("collection"),
        **about,
        "created": moment(job["created_at"]),
        "started": moment(job["started_at"]),
        "finished": moment(job["finished_at"]),
        "error": job["error"] and job["error"]["message"],
    }
    lines = [click.style(job["id"], bold=True), f"{'  state':<{_INDENT}}{state}"]
    return lines + [paragraph(f"  {name}", text, _INDENT) for name, text in fields.items() if text]


def _is_reencoding(job: dict[str, Any]) -> bool:
    return job.get("kind") == REENCODING


def _reported(rows: list[list[str]]) -> list[str]:
    """A table of the files, and the reasons of those that have one beneath each."""
    if not rows:
        return ["Nothing is known of its files yet."]
    lines = table(["status", "file", "person"], [row[:3] for row in rows], shrinks=1)
    told = [lines[0]]
    for line, row in zip(lines[1:], rows, strict=True):
        told.append(line)
        if row[3]:
            told.append(paragraph("", row[3], _INDENT - 2))
    return told


def _written(files: Iterable[FileReport], csv_file: Path) -> int:
    count = 0
    with ReportFile(csv_file) as written:
        for file in files:
            written.add(file)
            count += 1
        written.end()
    return count


def _begun(files: Iterator[FileReport]) -> Iterator[FileReport]:
    """The same, the first of them read: a job that is not there shows before a file is written."""
    first = next(files, None)
    return files if first is None else chain([first], files)


def _ago(text: str, now: datetime) -> str:
    seconds = max((now - datetime.fromisoformat(text)).total_seconds(), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
