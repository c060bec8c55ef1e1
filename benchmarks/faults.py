"""Rounds of kills, after which nothing may be lost, doubled or answered wrongly.

`index` kills processes that add, remove and search, and compares every answer with a plain scan. `imports`
kills the processes of a service that works on a zip, and its database server, and accounts for every photo.
Each prints the seed of a round before it begins, and ends with exit status 1 at the first fault.

    python3 -m benchmarks.faults index [--rounds 50] [--seconds 5] [--engine both|sqlite|mysql] [--seed SEED]
    python3 -m benchmarks.faults imports [--rounds 30] [--photos 1000] [--engine both] [--seed SEED]
"""

import argparse

# First: it sets the variables that numpy reads.
from benchmarks import index_faults  # isort: skip
from benchmarks import import_faults

ROUNDS = {"index": index_faults, "imports": import_faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, module in ROUNDS.items():
        module.add_options(kinds.add_parser(name))
    chosen = parser.parse_args()
    ROUNDS[chosen.kind].run(chosen)


if __name__ == "__main__":
    main()
