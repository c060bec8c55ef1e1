"""The calibrations that come with the built-in cards: all pairs of lfw/ of the labelled photos.

Runs `facesearch models calibrate` for each network and detector, and prints what it says. With --write, the
spaces that the last detector gives a network go into its card in facesearch/encoders/known. Without
--detectors, HOG finds faces for dlib's network, and CenterFace for the others.

    python3 -m benchmarks.calibrate [--models dlib mobilefacenet] [--detectors NAME ...] [--write]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import json
import re
import tempfile
from pathlib import Path

from benchmarks.encoded import combinations
from benchmarks.machine import describe
from facesearch.bootstrap import calibrate_model, model_store
from facesearch.config import EncoderSettings, Settings, WorkerSettings
from facesearch.encoders.cards import ModelCard, built_in_cards
from tests.labelled_photos import FOLDER
from tests.server import PROJECT_ROOT

KNOWN = PROJECT_ROOT / "facesearch" / "encoders" / "known"


def with_spaces(text: str, card: ModelCard) -> str:
    """A card's JSON with other spaces, which stand last in it; short lists and objects stay on one line."""
    spaces = {kind: space.model_dump(mode="json") for kind, space in card.spaces.items()}
    values = json.loads(text) | {"spaces": spaces}
    start = text.index('"spaces"')
    if list(json.loads(text))[-1] != "spaces":
        raise ValueError(f"spaces are not the last of {card.id}")
    indented = json.dumps({"spaces": spaces}, indent=2)
    short = re.sub(r"([\[{])\n\s+([^\[\]{}]*?)\n\s+([\]}])", _on_one_line, indented)
    made = text[:start] + short[short.index('"spaces"') :] + "\n"
    if json.loads(made) != values:
        raise ValueError(f"the card of {card.id} cannot be written")
    return made


def _on_one_line(found: re.Match[str]) -> str:
    inner = re.sub(r"\n\s+", " ", found[2])
    return f"[{inner}]" if found[1] == "[" else f"{{ {inner} }}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", nargs="*", default=("dlib", "mobilefacenet"))
    parser.add_argument("--detectors", nargs="*", default=())
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--faces", type=Path, default=FOLDER)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    for model in chosen.models:
        with tempfile.TemporaryDirectory() as home:
            detectors = chosen.detectors or ["hog" if model == "dlib" else "centerface"]
            for combination in combinations(Path(home, "models"), [model], detectors):
                settings = Settings(
                    data_dir=Path(home),
                    encoder=EncoderSettings.model_validate({"detector": combination.detector}),
                    workers=WorkerSettings(processes=chosen.processes),
                )
                print(f"\n{combination.name}", flush=True)
                calibrate_model(settings, model, chosen.faces / "lfw", print)
            if chosen.write:
                file = KNOWN / f"{model}.json"
                card = built_in_cards()[model].model_copy(
                    update={"spaces": model_store(settings).card(model).spaces}
                )
                file.write_text(with_spaces(file.read_text(), card))


if __name__ == "__main__":
    main()
