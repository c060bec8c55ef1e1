"""The labelled photos beside the project, for tests marked `faces`.

They may not be published, so a checkout may lack them. Such tests are skipped then, with the reason, and fail
instead where FACESEARCH_REQUIRE_FACES is 1.
"""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "faces"


def labelled(path: str) -> Path:
    """Return the path of a labelled photo; skip the test that asks where the photos are missing."""
    if not FOLDER.is_dir():
        pytest.skip("the labelled photos (../shared/faces) are not here")
    return FOLDER / path
