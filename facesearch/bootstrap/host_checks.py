"""Checks of the host that a service runs on; each looks, and changes nothing."""

import os
import pwd
import resource
import shutil
import socket
import stat
import time
from pathlib import Path

import httpx2

from facesearch.config import Settings, where_from
from facesearch.listening import try_address
from facesearch.records import OK, PROBLEM, WARNING, Finding

# A server process with its models, and one of the pool's at work on a photo of the size of a camera's.
PROCESS_BYTES = 150 * 1024**2
CHILD_BYTES = 250 * 1024**2

_NETWORK_DISKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
_MIB = 1024**2
_LITTLE_ROOM, _NO_ROOM = 2 * 1024**3, 100 * _MIB
_OPEN_FILES = 64  # libraries, logs, the index, the models
_NO_LIMIT = 1 << 60  # what a control group without a limit says
_CONTROL_GROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def check_config(settings: Settings) -> Finding:
    """Say where the settings come from; that they can be used is known by now."""
    file, variables = where_from()
    said = f"{file}, every key known"
    if variables:
        shown = ", ".join(variables[:3]) + (f" and {len(variables) - 3} more" if len(variables) > 3 else "")
        said += f"; the environment overrides it: {shown}"
    secret = settings.database.engine == "mysql" and settings.database.password.get_secret_value()
    if secret and "FACESEARCH_DATABASE__PASSWORD" not in variables and _others_may_read(file):
        return Finding(
            "config",
            WARNING,
            f"{file} holds the database's password, and every user of this host may read it.",
            f"chmod o-r {file}, or give the password as FACESEARCH_DATABASE__PASSWORD.",
        )
    return Finding("config", OK, f"{said}.")


def check_data_folder(folder: Path, most_archive_bytes: int) -> Finding:
    """Look at the data folder: is it there, this user's, on a local disk with room on it?"""
    if not folder.exists():
        if os.access(_nearest(folder), os.W_OK | os.X_OK):
            return Finding("data folder", OK, f"{folder} is not there yet; the service makes it.")
        return Finding(
            "data folder",
            PROBLEM,
            f"{folder} is not there, and this user may not make it.",
            "Make it and give it to the user that the service runs as, or name another in data_dir.",
        )
    owner = folder.stat().st_uid
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "data folder",
            PROBLEM,
            f"{folder} cannot be read and written by {_user(os.geteuid())}; it is {_user(owner)}'s.",
            f"Run the service, and this command, as {_user(owner)}, or chown the folder.",
        )
    if (kind := _file_system(folder)) in _NETWORK_DISKS:
        return Finding(
            "data folder",
            WARNING,
            f"{folder} lies on {kind}, a network disk: SQLite's log and the index need a local one.",
            "Name a folder on a local disk in data_dir.",
        )
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_ROOM:
        return Finding(
            "data folder",
            PROBLEM if free < _NO_ROOM else WARNING,
            f"{free / _MIB:,.0f} MiB are free on the disk of {folder}.",
            "Make room: faces, the index and archives that wait are written there.",
        )
    if owner != os.geteuid():
        return Finding(
            "data folder",
            WARNING,
            f"{folder} is {_user(owner)}'s, and this command runs as {_user(os.geteuid())}: what is said "
            "here of rights may not hold for the service.",
            f"Run this command as {_user(owner)}.",
        )
    if _others_may_read(folder):
        return Finding(
            "data folder",
            WARNING,
            f"Every user of this host may look into {folder}, which holds faces.",
            f"chmod 700 {folder}",
        )
    note = "" if free > most_archive_bytes else "; an archive may have more, see limits.zip_bytes"
    return Finding("data folder", OK, f"{folder}, {free / 1024**3:,.1f} GiB free{note}.")


def check_memory(settings: Settings, index: int, faces: int) -> Finding:
    """Compare what the service needs for its faces with what the host has."""
    has = memory_bytes()
    # The file is mapped once for all processes; each search of a process adds little to that.
    workers = settings.server.workers * PROCESS_BYTES
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = settings.workers
    children = min((pool.processes or cores) * settings.server.workers, pool.processes_per_host) * CHILD_BYTES
    needs = (
        f"{index / _MIB:,.0f} MiB for the index of {faces:,} faces, about {workers / _MIB:,.0f} for "
        f"{settings.server.workers} server processes, and up to {children / _MIB:,.0f} during an import"
    )
    if index + workers > has:
        return Finding(
            "memory",
            PROBLEM,
            f"{needs}; there are {has / _MIB:,.0f} MiB.",
            "Give the host more memory, or lower server.workers.",
        )
    if index + workers + children > has:
        return Finding(
            "memory",
            WARNING,
            f"{needs}; there are {has / _MIB:,.0f} MiB.",
            "Lower workers.processes_per_host or server.workers.",
        )
    return Finding("memory", OK, f"{needs}; there are {has / _MIB:,.0f} MiB.")


def memory_bytes() -> int:
    """The memory of the host, or that which this process's control group is allowed, whichever is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _CONTROL_GROUP:
        try:
            allowed = int(file.read_text())
        except (OSError, ValueError):  # `max` where there is no limit
            continue
        if allowed < _NO_LIMIT:
            return min(whole, allowed)
    return whole


def check_port(host: str, port: int) -> Finding:
    """Say whether the service's address is free, or who answers at it."""
    if port == 0:
        return Finding("port", OK, "The system chooses a free port.")
    try:
        try_address(host, port)
    except socket.gaierror:
        return Finding("port", PROBLEM, f"{host} is no address.", "Correct server.host.")
    except PermissionError:
        return Finding(
            "port",
            PROBLEM,
            f"This user may not listen on port {port}.",
            "Name one from 1024 on in server.port, and put a proxy before it.",
        )
    except OSError as error:
        return _who_answers(host, port) or Finding(
            "port",
            PROBLEM,
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            "See who uses it with `ss -ltnp`, or name another address in server.host and server.port.",
        )
    return Finding("port", OK, f"{host}:{port} is free; no service is running there.")


def check_clock(newest: float, ahead_s: float | None, lease_s: float) -> Finding:
    """Compare this host's clock with the database server's, and with what was written last.

    Args:
        newest: when a file of the service or of its data was last written, in seconds since 1970.
        ahead_s: how far the server's clock is ahead, None where there is no server.
    """
    if time.time() < newest - 60:
        return Finding(
            "clock",
            PROBLEM,
            "The clock is behind: files were written later than it says.",
            "Set it, and have it kept: timedatectl set-ntp true.",
        )
    if ahead_s is not None and abs(ahead_s) > min(2.0, lease_s / 3):
        way = "ahead of" if ahead_s > 0 else "behind"
        return Finding(
            "clock",
            WARNING,
            f"The database server's clock is {abs(ahead_s):,.1f} s {way} this host's.",
            "Have both kept by NTP: hosts that share a database judge each other's leases by their clocks.",
        )
    beside = "" if ahead_s is None else f", {abs(ahead_s):.2f} s beside the database server's"
    return Finding("clock", OK, f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC{beside}.")


def check_open_files(settings: Settings) -> Finding:
    """Compare how many files a process may open with what a server process may want."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES + 2 * settings.server.requests_in_flight + 3 * settings.database.connections
    if soft != resource.RLIM_INFINITY and soft < wanted:
        return Finding(
            "open files",
            WARNING,
            f"A process may open {soft:,} files; a server process may want {wanted:,}.",
            f"ulimit -n {max(wanted, 4096)}, or LimitNOFILE= in its unit (the most here is {hard:,}).",
        )
    many = "any number of" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    return Finding("open files", OK, f"A process may open {many} files; one may want {wanted:,}.")


def _who_answers(host: str, port: int) -> Finding | None:
    """Say that a facesearch answers there; None where something else does, or nothing."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked about, not bound
    url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    try:
        answer = httpx2.get(f"{url}/v1/info", timeout=5.0)
        said = answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return None
    if not isinstance(said, dict):
        return None
    if answer.is_success and "version" in said and "limits" in said:
        return Finding("port", OK, f"A facesearch {said['version']} answers at {url}.")
    if {"code", "message", "details"} <= said.keys():
        return Finding("port", OK, f"A facesearch answers at {url}: {said['message']}")
    return None


def _others_may_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH))
    except OSError:
        return False


def _nearest(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(parent for parent in folder.absolute().parents if parent.exists())


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on, empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real, best, kind = folder.resolve(), -1, ""
    for line in lines:
        _, mount, found, *_ = line.split(" ")
        place = Path(mount.replace("\\040", " "))
        if real.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), found
    return kind
