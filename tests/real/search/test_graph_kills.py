"""A process that builds a graph is killed at random moments; whoever comes next goes on."""

import logging
import random
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch.search import HNSWIndex, tending
from facesearch.search.graph import GraphFile
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.contracts.face_index import DIMENSION, draw

ROOT = Path(__file__).resolve().parents[3]
ROWS = 20_000
ROUNDS = 3
BUILD = """
import sys
from pathlib import Path
from facesearch.search import tending
from tests.real.search.test_graph_kills import gallery, make

tending._STEP, tending._SHORT_ROWS = 500, 100
index = make(Path(sys.argv[1]))
print("ready", flush=True)
index.catch_up(gallery())
"""


def gallery() -> FaceHistory:
    history = FaceHistory(batch=ROWS)
    history.add(draw(ROWS, 1))
    return history


def make(folder: Path) -> HNSWIndex:
    return HNSWIndex(
        folder, MODEL, DIMENSION, InlinePool(), 1 << 60, graph_from=1000, expansion=128, on_the_side=False
    )


@pytest.mark.hnsw
def test_a_build_that_is_killed_leaves_a_graph_that_is_whole_or_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(tending, "_SHORT_ROWS", 100)
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance, history = random.Random(seed), gallery()
    make(tmp_path)._exact.catch_up(history)
    nodes, kills = 0, 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            try:
                process.wait(chance.uniform(0.05, 1.0))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        for path in tmp_path.glob("*.graph"):
            nodes, before = GraphFile(path, MODEL, DIMENSION).about.nodes, nodes
            assert nodes >= before, "what had been published was lost"
    assert kills > 0
    index = make(tmp_path)
    with caplog.at_level(logging.WARNING):
        index.catch_up(history)
    assert caplog.text == ""
    probes = draw(20, 2)
    missed = 0
    for found, ranked in zip(index.search(probes, 5, 2.0), history.nearest(probes, ROWS, 2.0), strict=True):
        assert found == [match for match in ranked if match in found], "no face, or at another distance"
        missed += sum(match not in found for match in ranked[:5])
    assert missed <= 3  # of 100: a graph may overlook some, and each build is another
    (path,) = tmp_path.glob("*.graph")
    assert GraphFile(path, MODEL, DIMENSION).about.nodes == ROWS
    assert not list(tmp_path.glob("*.new"))
