"""What gunicorn takes for granted here; its command line overrides each line.

`python3 -m gunicorn app:app` reads this file by itself. Host, port and the number of workers come
from config.json.
"""

import os
import signal
import sys
from typing import Any

from facesearch.config import load_settings
from facesearch.errors import InvalidConfig
from facesearch.workers.lifetime import die_with

try:
    _server = load_settings().server
except InvalidConfig as error:
    sys.exit(error.message)

# Before the workers load numpy: several threads for one product make it slower as soon as several workers
# compute (a product of 16 ms took 290 ms).
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

bind = f"[{_server.host}]:{_server.port}" if ":" in _server.host else f"{_server.host}:{_server.port}"
workers = _server.workers
worker_class = "uvicorn_worker.UvicornWorker"

# A worker beats while its requests run in threads, so this catches a process that hangs, not a long bulk.
timeout = 60
# How long requests in work may take to end after SIGTERM.
graceful_timeout = 30
keepalive = 5

# Each worker imports the application by itself: threads, connections and models do not survive a fork.
preload_app = False

# A socket in the home folder that could stop the service; nobody asked for it.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Let a worker that was asked to stop end as a program does, and one whose master was killed end at all.

    uvicorn finishes its requests and then raises the signal once more. By default that kills the process
    before its exit handlers ran, and gunicorn logs an error about it.

    Without its master a worker would keep the port, and whoever starts the service anew would not get it.
    Asked for here, and not after the fork: a change of user and group in between would undo it.
    """
    die_with(worker.ppid)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
