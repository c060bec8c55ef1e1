"""A throwaway MariaDB or MySQL server for tests: own folder, own socket, a free port on 127.0.0.1."""

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mysql.connector

from facesearch.config import DatabaseSettings
from tests.server import free_port

START_LIMIT_S = 180
STOP_LIMIT_S = 30

# Becomes the server, which then dies with the process that asked for it, however that one ends.
# A preexec_fn would do the same, and warn wherever a thread is running.
LAUNCHER = """
import ctypes, os, sys
parent, uid, gid, *command = sys.argv[1:]
if int(uid) != os.getuid():
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL; a change of user would clear it
if os.getppid() != int(parent):
    sys.exit("the parent is gone")
os.execv(command[0], command)
"""


class NoServerProgram(Exception):
    """Neither mariadbd nor mysqld is installed."""


class MariaDB:
    """One server, from `start` to `remove`; use it as a context manager.

    It belongs to the thread that starts it: the server ends with that thread.

    Args:
        buffer_mb: the memory that it keeps pages in.
    """

    def __init__(self, buffer_mb: int = 128) -> None:
        self._buffer_mb = buffer_mb
        self._program = _find_program("mariadbd", "mysqld")
        self._account = _ordinary_account()
        self._folder = Path(tempfile.mkdtemp(prefix="facesearch-mariadb-"))
        os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        self._socket = self._folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self.port = free_port()

    def __enter__(self) -> "MariaDB":
        try:
            self._make_data()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None
        command = [
            *self._base_command(),
            f"--socket={self._socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            f"--pid-file={self._folder / 'pid'}",
            "--performance-schema=OFF",
            "--max-connections=60",
            "--default-time-zone=+03:00",
        ]
        self._process = self._launch(command)
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self._root().close()
                return
            except mysql.connector.Error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The server did not start:\n{self.log()[-3000:]}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Shut the server down in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let the server answer nothing, as behind a broken network."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End the server and delete its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self, **overrides: Any) -> DatabaseSettings:
        """Make an empty database with a user of its own, and return the settings that lead to it."""
        name = f"faces_{next(self._numbers)}"
        password = secrets.token_urlsafe(12)
        self.execute(
            f"CREATE DATABASE {name}",
            f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'",
            f"GRANT ALL ON {name}.* TO '{name}'@'%'",
        )
        values = {"engine": "mysql", "port": self.port, "user": name, "password": password, "database": name}
        return DatabaseSettings.model_validate(values | overrides)

    def execute(self, *statements: str) -> list[Any]:
        """Run statements as root; return the rows of the last one."""
        connection = self._root()
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.with_rows else []
            connection.commit()
            return rows
        finally:
            connection.close()

    def log(self) -> str:
        """What the server and its installer have written."""
        file = self._folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def _root(self) -> Any:
        return mysql.connector.connect(
            unix_socket=str(self._socket),
            user="root",
            password="",
            charset="utf8mb4",
            collation="utf8mb4_bin",
            connection_timeout=30,
            read_timeout=30,
            use_pure=False,
        )

    def _base_command(self) -> list[str]:
        small = [f"--innodb-buffer-pool-size={self._buffer_mb}M", "--skip-log-bin"]
        return [self._program, "--no-defaults", f"--datadir={self._folder / 'data'}", *small]

    def _make_data(self) -> None:
        if Path(self._program).name == "mysqld" and "MariaDB" not in _version(self._program):
            command = [*self._base_command(), "--initialize-insecure"]
        else:
            command = [
                _find_program("mariadb-install-db", "mysql_install_db"),
                "--no-defaults",
                f"--datadir={self._folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-buffer-pool-size=128M",
            ]
        installer = self._launch(command)
        try:
            status = installer.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            installer.kill()
            raise
        if status != 0:
            raise RuntimeError(f"The server's tables could not be made:\n{self.log()[-3000:]}")

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        uid, gid = self._account.pw_uid, self._account.pw_gid
        start = [sys.executable, "-S", "-E", "-c", LAUNCHER, str(os.getpid()), str(uid), str(gid)]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*start, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(how)
        if how != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_LIMIT_S)


def _find_program(*names: str) -> str:
    places = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec"
    for name in names:
        if path := shutil.which(name, path=places):
            return path
    raise NoServerProgram(f"none of {', '.join(names)} is installed")


def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout


def _ordinary_account() -> pwd.struct_passwd:
    """The account the server runs under: this process's own, or another where that is root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ("mysql", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServerProgram("there is no ordinary account to run it under")
