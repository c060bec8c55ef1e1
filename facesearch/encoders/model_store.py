"""The models of one data folder: their files, verified, and the cards of all that this version knows.

An installed model is a folder `installed/<id>` with `model.onnx` and `card.json`. It appears whole, or not at
all: it is written beside, flushed to the disk, tested, and renamed.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from facesearch.encoders.cards import RUNNABLE, ModelCard, read_card
from facesearch.encoders.model_files import EMBEDDING, model_file
from facesearch.encoders.onnx_file import MOST_BYTES, check_onnx_file
from facesearch.errors import Conflict, FacesearchError, Invalid, NotFound, Unavailable

Check = Callable[[ModelCard, Path], None]

_KNOWN = Path(__file__).with_name("known")
_WEIGHTS = "model.onnx"
_CARD = "card.json"
_BLOCK = 1 << 20
_LOG = logging.getLogger(__name__)


def digest_of(file: Path) -> str:
    """Return a file's SHA-256, hexadecimal; about 1 ms per MB.

    Raises:
        Invalid: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise Invalid(f"The file {file.name} cannot be read: {error.strerror}.") from None


class ModelStore:
    """The models of one data folder. Holds no state of its own, so that any number may look at one folder.

    Any thread and process may call it; those that change the folder wait for each other.

    Args:
        directory: the data folder's `models`; made when the first model is added.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._installed = directory / "installed"

    def known(self) -> dict[str, ModelCard]:
        """The cards of this version by id; an installed model's own card takes the place of the built-in."""
        built_in = {card.id: card for card in map(read_card, sorted(_KNOWN.glob("*.json")))}
        return {**built_in, **self.installed()}

    def installed(self) -> dict[str, ModelCard]:
        """The cards of the installed models by id; one that cannot be read is left out, and logged."""
        cards = {}
        for file in sorted(self._installed.glob(f"*/{_CARD}")):
            try:
                card = read_card(file)
            except FacesearchError as error:
                _LOG.warning("The model %s is left out. %s", file.parent.name, error.message)
                continue
            if card.id == file.parent.name:
                cards[card.id] = card
        return cards

    def card(self, model: str) -> ModelCard:
        """Return the card of a known model.

        Raises:
            NotFound: no model of that id is known.
        """
        card = self.known().get(model)
        if card is None:
            raise NotFound(f"No model {model} is known; `facesearch models list` shows those that are.")
        return card

    def weights(self, model: str) -> tuple[ModelCard, Path]:
        """Return an installed model's card and its file, whose SHA-256 was compared with the card's.

        Raises:
            Unavailable: it is unknown, not installed, or damaged; the message says what to do.
        """
        installed = self.installed().get(model)
        if installed is None and model == "dlib":
            return self.card(model), model_file(EMBEDDING)
        if installed is None:
            raise Unavailable(_missing(model, self.known().get(model)))
        file = self._installed / model / _WEIGHTS
        try:
            whole = digest_of(file) == installed.sha256
        except Invalid:
            whole = False
        if not whole:
            raise Unavailable(
                f"The file of the model {model} is damaged or missing: remove the model with "
                f"`facesearch models remove {model}` and add it again."
            )
        return installed, file

    def detector_of(self, family: str) -> tuple[ModelCard, Path]:
        """Return the installed detection model of a family; of several, the first by id.

        Raises:
            Unavailable: there is none, or its file is damaged.
        """
        known = self.known()
        installed = self.installed()
        for model, card in sorted(installed.items()):
            if card.family == family:
                return self.weights(model)
        first = next((model for model, card in sorted(known.items()) if card.family == family), family)
        raise Unavailable(_missing(first, known.get(first)))

    def identify(self, file: Path) -> ModelCard | None:
        """Return the card of the known model whose SHA-256 a file has, or None."""
        digest = digest_of(file)
        return next((card for card in self.known().values() if card.sha256 == digest), None)

    def add(self, file: Path, card: ModelCard, check: Check | None = None) -> ModelCard:
        """Install a copy of a file; nothing is left behind where it is refused.

        Args:
            file: an ONNX file that holds all its weights.
            card: what it is. A card without a SHA-256 gets that of the file.
            check: tests the copy before it becomes visible, and raises where it does not hold.

        Returns:
            The card as installed.

        Raises:
            Invalid: the file is not the card's, no ONNX file, or spread over several files.
            Conflict: another file is installed under this id.
            Unavailable: the data folder cannot be written.
        """
        if card.family not in RUNNABLE or card.family == "dlib":
            raise Invalid(
                f"{card.name} cannot be added: dlib's files come with requirements.txt."
                if card.family == "dlib"
                else f"{card.name} cannot be added: no code here runs networks of the family {card.family}."
            )
        with self._changing():
            folder = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._installed))
            try:
                copied = _copied(file, folder / _WEIGHTS, card)
                if check is not None:
                    check(copied, folder / _WEIGHTS)
                _write_card(folder / _CARD, copied)
                self._publish(folder, copied)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return copied

    def save_card(self, card: ModelCard) -> None:
        """Replace the card of an installed model, at once and durably.

        Raises:
            Unavailable: no such model is installed, or the folder cannot be written.
            Invalid: the card describes another file.
        """
        installed = self.installed().get(card.id)
        if installed is None:
            raise Unavailable(_missing(card.id, self.known().get(card.id)))
        if installed.sha256 != card.sha256:
            raise Invalid(f"The card describes another file than the one installed as {card.id}.")
        with self._changing():
            folder = self._installed / card.id
            fresh = folder / f".{_CARD}"
            _write_card(fresh, card)
            os.replace(fresh, folder / _CARD)
            _flush_folder(folder)

    def remove(self, model: str) -> None:
        """Remove an installed model, damaged or not.

        Raises:
            NotFound: no such model is installed.
            Unavailable: the folder cannot be written.
        """
        with self._changing():
            if model not in os.listdir(self._installed) or model.startswith("."):
                raise NotFound(f"No model {model} is installed.")
            gone = Path(tempfile.mkdtemp(prefix=".removed-", dir=self._installed))
            os.replace(self._installed / model, gone / model)
            shutil.rmtree(gone, ignore_errors=True)

    def _publish(self, folder: Path, card: ModelCard) -> None:
        place = self._installed / card.id
        if place.exists():
            there = self.installed().get(card.id)
            same = there is not None and there.sha256 == card.sha256
            raise Conflict(
                f"{card.id} is installed already{'' if same else ', with another file'}; to replace it, "
                f"remove it first: facesearch models remove {card.id}"
            )
        _flush_folder(folder)
        os.replace(folder, place)
        _flush_folder(self._installed)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one change the folder at a time; what a killed one left is swept away."""
        try:
            self._installed.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.directory / "installed.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left in (*self._installed.glob(".incoming-*"), *self._installed.glob(".removed-*")):
                    shutil.rmtree(left, ignore_errors=True)
                yield
        except OSError as error:
            raise Unavailable(f"The models' folder cannot be written: {error.strerror}.") from None


def _missing(model: str, card: ModelCard | None) -> str:
    if card is None:
        return f"No model {model} is known; `facesearch models list` shows those that are."
    if card.family not in RUNNABLE:
        return f"No code here runs {card.name}."
    return (
        f"The model {model} is not installed: add its file with `facesearch models add FILE --card {model}`."
    )


def _copied(file: Path, copy: Path, card: ModelCard) -> ModelCard:
    """Copy a file durably and return the card with the copy's hash and size, or say what is wrong with it."""
    size, digest = 0, hashlib.sha256()
    try:
        opened = file.open("rb")
    except OSError as error:
        raise Invalid(f"The file {file.name} cannot be read: {error.strerror}.") from None
    with opened, copy.open("xb") as written:
        while block := opened.read(_BLOCK):
            size += len(block)
            if size >= MOST_BYTES:
                raise Invalid(f"The file {file.name} is too large: 2 GiB and more.")
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    if card.bytes is not None and size != card.bytes:
        raise Invalid(
            f"The file {file.name} is not {card.id}: it has {size:,} bytes instead of {card.bytes:,}."
        )
    if card.sha256 is not None and digest.hexdigest() != card.sha256:
        raise Invalid(f"The file {file.name} is not {card.id}: its SHA-256 is not the card's.")
    check_onnx_file(copy)
    return card.model_copy(update={"sha256": digest.hexdigest(), "bytes": size})


def _write_card(file: Path, card: ModelCard) -> None:
    with file.open("w", encoding="utf-8") as written:
        written.write(card.model_dump_json(indent=2) + "\n")
        written.flush()
        os.fsync(written.fileno())


def _flush_folder(folder: Path) -> None:
    """Make renames in a folder last."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
