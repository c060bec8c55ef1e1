"""A place for what an encoder would write into the data folder, where nothing may be left behind."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facesearch.bootstrap.service import MODELS
from facesearch.config import Settings


@contextmanager
def scratch_models(settings: Settings) -> Iterator[Path]:
    """A temporary folder that shows the files of the data folder's `models`.

    Graphs that are not built yet, and locks, come to lie in it alone.
    """
    with tempfile.TemporaryDirectory(prefix="facesearch-") as name:
        folder, models = Path(name), settings.data_dir / MODELS
        if models.is_dir() and os.access(models, os.R_OK | os.X_OK):
            for file in models.iterdir():
                if file.suffix != ".lock":
                    (folder / file.name).symlink_to(file.absolute())
        yield folder
