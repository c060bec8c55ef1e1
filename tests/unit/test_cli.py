"""The command line itself: `serve`, up to where gunicorn takes over."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facesearch import cli
from tests.server import free_port

Serve = Callable[..., Result]


class TookOver(Exception):
    """gunicorn runs in this process' place."""


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def takes_over(program: str, command: list[str]) -> None:
        raise TookOver(command)

    (tmp_path / "config.json").write_text('{"server": {"host": "127.0.0.1"}}')
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))
    for name in ("GUNICORN_CMD_ARGS", "GUNICORN_FD", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOST", "PORT", "WORKERS"):
        monkeypatch.setenv(f"FACESEARCH_SERVER__{name}", "")
        monkeypatch.delenv(f"FACESEARCH_SERVER__{name}")
    monkeypatch.setattr(os, "execv", takes_over)
    monkeypatch.setattr(cli, "_ENDING_S", 0.0)
    return lambda *words: CliRunner().invoke(cli.main, ["serve", *map(str, words)])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_taken_port_is_refused_in_a_sentence(serve: Serve, taken: int) -> None:
    refused = serve("--port", taken)
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"Error: Port {taken} of 127.0.0.1 is taken; `facesearch doctor` tells by what, and --port names "
        "another.\n"
    )


def test_an_address_of_another_host_is_refused_in_a_sentence(serve: Serve) -> None:
    refused = serve("--host", "192.0.2.1", "--port", free_port())
    assert refused.exit_code == 1
    assert "Cannot assign requested address" in refused.stderr


def test_a_free_port_goes_to_gunicorn(serve: Serve) -> None:
    assert isinstance(serve("--port", free_port()).exception, TookOver)
    assert isinstance(serve("--port", 0).exception, TookOver)


@pytest.mark.parametrize("name", ["GUNICORN_CMD_ARGS", "GUNICORN_FD", "LISTEN_FDS"])
def test_who_tells_gunicorn_where_to_listen_is_left_alone(
    serve: Serve, taken: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "--bind unix:here")
    assert isinstance(serve("--port", taken).exception, TookOver)


def test_a_port_that_becomes_free_meanwhile_is_waited_for(
    serve: Serve, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter([OSError(98, "Address already in use"), None])

    def try_address(host: str, port: int) -> None:
        if (error := next(tries)) is not None:
            raise error

    monkeypatch.setattr(cli, "_ENDING_S", 60.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(cli, "try_address", try_address)
    assert isinstance(serve("--port", taken).exception, TookOver)
