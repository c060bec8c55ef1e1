"""A process with a pool and a listening port, to be killed by tests.

Prints its port, then works on what never ends. Arguments: folder, processes, per_host.
"""

import socket
import sys
from pathlib import Path

from facesearch.workers import ProcessPool
from tests.real.workers import tasks


def serve(folder: Path, processes: int, per_host: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pool = ProcessPool(processes, per_host, 600.0, folder / "slots")
    print(listener.getsockname()[1], flush=True)
    list(pool.map(tasks.hold, [(str(folder), f"server{number}") for number in range(processes)]))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
