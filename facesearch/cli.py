"""The commands of `python3 -m facesearch`."""

import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from facesearch import __version__
from facesearch.commands.bench import bench
from facesearch.commands.collections import collections
from facesearch.commands.compare import compare
from facesearch.commands.doctor import doctor
from facesearch.commands.export import export
from facesearch.commands.faces import faces
from facesearch.commands.imports import import_gallery
from facesearch.commands.jobs import jobs
from facesearch.commands.keys import keys
from facesearch.commands.migrate import migrate
from facesearch.commands.models import models
from facesearch.commands.people import people
from facesearch.commands.reencode import reencode
from facesearch.commands.search import search
from facesearch.config import load_settings
from facesearch.errors import (
    CollectionNotAllowed,
    CollectionNotFound,
    CropNotFound,
    FacesearchError,
    PersonNotFound,
)
from facesearch.listening import try_address

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# By these gunicorn may be told to listen elsewhere, or be handed a socket that listens already.
_LISTENS_ELSEWHERE = {"GUNICORN_CMD_ARGS", "GUNICORN_FD", "LISTEN_FDS"}
# So long the processes of a service that was just stopped may keep its port.
_ENDING_S = 2.0

_ADVICE = {
    CollectionNotAllowed.code: "`facesearch keys list` shows which key is for which.",
    CollectionNotFound.code: "`facesearch collections list` shows those that there are.",
    CropNotFound.code: "With crops.keep_crops in the config file, those of new faces are.",
    PersonNotFound.code: "`facesearch people list` shows those that there are.",
}


class _Sentences(click.Group):
    """Shows an error of ours in a sentence or two, whichever command raised it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FacesearchError as error:
            advice = _ADVICE.get(error.code)
            raise click.ClickException(f"{error.message} {advice}" if advice else error.message) from None


@click.group(cls=_Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="facesearch")
def main() -> None:
    """Find known faces in photos."""


@main.command()
@click.option("--host", help="Address to listen on.  [default: from config.json]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port.  [default: from config.json]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes.  [default: from config.json]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Start the service with gunicorn; ^C ends it."""
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[f"FACESEARCH_SERVER__{name}"] = str(value)
    settings = load_settings().server
    if not _LISTENS_ELSEWHERE & os.environ.keys():
        _refuse_taken(settings.host, settings.port)
    # gunicorn takes this process over, so that signals reach it as they would reach us. The folder
    # that it looks for app.py and gunicorn.conf.py in is the project's, wherever it was called from.
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(PROJECT_ROOT)]
    command += ["--config", str(PROJECT_ROOT / "gunicorn.conf.py"), "app:app"]
    os.execv(command[0], command)  # noqa: S606 - every word of it is ours


def _refuse_taken(host: str, port: int) -> None:
    """Refuse an address that cannot be listened at, where gunicorn would try five times and log each."""
    deadline = time.monotonic() + _ENDING_S
    while True:
        try:
            return try_address(host, port)
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(_ENDING_S / 20)
                continue
            if error.errno == errno.EADDRINUSE:
                raise click.ClickException(
                    f"Port {port} of {host} is taken; `facesearch doctor` tells by what, and --port names "
                    "another."
                ) from None
            raise click.ClickException(
                f"Nothing can listen on port {port} of {host}: {error.strerror}. --host and --port name "
                "another address."
            ) from None


for command in (
    bench,
    collections,
    compare,
    doctor,
    export,
    faces,
    import_gallery,
    jobs,
    keys,
    migrate,
    models,
    people,
    reencode,
    search,
):
    main.add_command(command)
