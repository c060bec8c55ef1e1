"""The application on a fake API, for servers in processes of their own: `tests.web.serve:app`."""

import os
from typing import BinaryIO

from facesearch.config import LimitSettings, ServerSettings, Settings
from facesearch.records import QUEUED, RUNNING, ImportOptions, Job, Once
from facesearch.web import create_app
from tests.web.conftest import FakeAPI
from tests.web.fake_imports import FakeImports


class EndlessImports(FakeImports):
    """Jobs that never end; of an archive only its length is looked at, which becomes the job's total."""

    def __init__(self) -> None:
        super().__init__()
        self.ends_as = QUEUED

    def start(
        self, archive: BinaryIO, file_name: str, options: ImportOptions, once: Once | None = None
    ) -> Job:
        length = archive.seek(0, os.SEEK_END)
        return self.add(RUNNING, total=length, file_name=file_name, options=options)


def _api(_: Settings) -> FakeAPI:
    api = FakeAPI()
    api.fake_imports = EndlessImports()
    return api


def _settings() -> Settings:
    return Settings(
        limits=LimitSettings(photo_bytes=10**7, zip_bytes=10**9), server=ServerSettings(requests_in_flight=8)
    )


app = create_app(_settings, _api)
