import subprocess
import sys

import pytest

import facesearch.workers


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        facesearch.workers.ThreadPool  # noqa: B018


def test_a_child_loads_no_numeric_library_and_no_port_before_its_first_task() -> None:
    code = (
        "import sys, facesearch.workers.supervisor; "
        "print([m for m in ('numpy', 'dlib', 'onnxruntime', 'facesearch.interfaces') if m in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]"
