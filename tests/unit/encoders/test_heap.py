import ctypes

import pytest

from facesearch.encoders.heap import give_back_free_memory


def test_memory_is_given_back_without_error() -> None:
    give_back_free_memory()


def test_a_c_library_without_trimming_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back_free_memory()
