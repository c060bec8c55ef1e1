"""dlib's embeddings beside those of the same weights under ONNX Runtime, on every face of a folder.

Each photo of lfw/, lowres/, hires/ and group/ goes through HOG (upsampled once where nothing is found);
every face's crop goes through both networks. Prints the largest difference in any component.

    python3 -m benchmarks.compare_embeddings [FACES_FOLDER] [--every 1]
"""

import argparse
import tempfile
from pathlib import Path

import dlib
import face_recognition_models
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.machine import describe
from facesearch.encoders.dlib_models import DlibModels
from facesearch.encoders.resnet_embedder import ResNetEmbedder

FACES_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "faces"
LIMIT = 1e-6
SIDE_PX = 1600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FACES_FOLDER)
    parser.add_argument("--every", type=int, default=1, help="take each n-th photo only")
    options = parser.parse_args()
    print(describe("dlib-bin", "onnxruntime", "numpy"))
    parts = ("lfw", "lowres", "hires", "group")
    files = sorted(f for part in parts for f in (options.folder / part).rglob("*.*"))[:: options.every]
    model_file = face_recognition_models.face_recognition_model_location()
    model = dlib.face_recognition_model_v1(model_file)
    models = DlibModels()
    worst = []
    with tempfile.TemporaryDirectory() as cache:
        embedder = ResNetEmbedder(Path(model_file), Path(cache))
        for file in files:
            pixels = read(file)
            found = models.find_by_hog(pixels, 0) or models.find_by_hog(pixels, 1)
            crops = [models.align(pixels, face.box)[1] for face in found]
            if crops:
                expected = np.array(model.compute_face_descriptor(crops))
                differences = np.abs(embedder.embed(np.stack(crops)) - expected).max(axis=1)
                worst.extend(differences.tolist())
                if differences.max() > LIMIT:
                    print(f"over the limit: {file.relative_to(options.folder)} {differences.max():.2e}")
    print(f"photos: {len(files)}, faces: {len(worst)}")
    print(f"difference in any component: at most {max(worst):.2e}, median {np.median(worst):.2e}")
    print(f"faces over {LIMIT:.0e}: {sum(w > LIMIT for w in worst)}")


def read(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
        image.thumbnail((SIDE_PX, SIDE_PX))
        return np.array(image)


if __name__ == "__main__":
    main()
