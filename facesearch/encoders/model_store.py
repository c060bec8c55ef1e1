"""The models of one data folder: their files, verified, and the cards of all that this version knows.

An installed model is a folder `installed/<id>` with `model.onnx` and `card.json`. It appears whole, or not at
all: it is written beside, flushed to the disk, tested, and renamed.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from facesearch.encoders.cards import ModelCard, built_in_cards, read_card
from facesearch.encoders.model_copy import copied, digest_of, flush_folder, write_card
from facesearch.encoders.model_files import EMBEDDING, model_file
from facesearch.errors import Conflict, FacesearchError, Invalid, NotFound, Unavailable

Check = Callable[[ModelCard, Path], object]

_INSTALLED = "installed"
_WEIGHTS = "model.onnx"
_CARD = "card.json"
_LOG = logging.getLogger(__name__)


class ModelStore:
    """The models of one data folder. Holds no state of its own, so that any number may look at one folder.

    Any thread and process may call it; those that change the folder wait for each other.

    Args:
        directory: the data folder's `models`; made when the first model is added.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._installed = directory / _INSTALLED

    def known(self) -> dict[str, ModelCard]:
        """The cards of this version by id; an installed model's own card takes the place of the built-in."""
        return {**built_in_cards(), **self.installed()}

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
        if model == "dlib":
            return self.card(model), model_file(EMBEDDING)
        installed = self.installed().get(model)
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

    def is_whole(self, model: str) -> bool:
        """Say whether a model is installed, and its file that of its card."""
        try:
            self.weights(model)
        except Unavailable:
            return False
        return True

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

    def card_for(self, file: Path, wanted: str | None) -> ModelCard:
        """Return the card of a file that is not installed yet.

        Args:
            file: the weights.
            wanted: the id of a known model, or the path of a card, whose name ends in `.json`; None finds
                the known model that has the file's SHA-256.

        Raises:
            Invalid: the file is of no known model, or the card cannot be used.
            NotFound: no model of that id is known.
        """
        if wanted is not None and not wanted.endswith(".json"):
            return self.card(wanted)
        if wanted is not None:
            return _self_made(Path(wanted))
        card = self.identify(file)
        if card is not None:
            return card
        named = [known.id for known in self.known().values() if file.name in known.aliases]
        alike = (
            f" A file of this name would be {' or '.join(named)}, but has another SHA-256." if named else ""
        )
        raise Invalid(
            f"No known model has the SHA-256 of {file.name}.{alike} Say what it is with --card: the id of a "
            "known model, or a card of your own."
        )

    def add(self, file: Path, card: ModelCard, check: Check | None = None) -> ModelCard:
        """Install a copy of a file; nothing is left behind where it is refused.

        Args:
            file: an ONNX file that holds all its weights.
            card: what it is. A card without a SHA-256 gets that of the file.
            check: tests the copy before it becomes visible, and raises where it does not hold. It gets the
                card, and a models folder in which nothing but this model is installed.

        Returns:
            The card as installed.

        Raises:
            Invalid: the file is not the card's, no ONNX file, or spread over several files.
            Conflict: a model of this id, or another detector of this family, is installed.
            Unavailable: the data folder cannot be written.
        """
        if card.family == "dlib":
            raise Invalid("dlib's networks are installed with requirements.txt and cannot be added.")
        if not card.runs_here:
            raise Invalid(
                f"{card.name}: there is no code here that runs networks of the family {card.family}."
            )
        with self._changing():
            self.refuse_second(card)
            folder = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._installed))
            try:
                fresh = folder / _INSTALLED / card.id
                fresh.mkdir(mode=0o700, parents=True)
                own = copied(file, fresh / _WEIGHTS, card)
                write_card(fresh / _CARD, own)
                if check is not None:
                    check(own, folder)
                flush_folder(fresh)
                os.replace(fresh, self._installed / card.id)
                flush_folder(self._installed)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return own

    def check(self, model: str, check: Check) -> ModelCard:
        """Verify an installed model's SHA-256 and have it tested as `add` does.

        Raises:
            Unavailable: it is not installed, or damaged.
        """
        card, file = self.weights(model)
        with tempfile.TemporaryDirectory(prefix="facesearch-") as name:
            alone = Path(name) / _INSTALLED / model
            alone.mkdir(parents=True)
            (alone / _WEIGHTS).symlink_to(file.absolute())
            write_card(alone / _CARD, card)
            check(card, Path(name))
        return card

    def save_card(self, card: ModelCard) -> None:
        """Replace the card of an installed model, at once and durably.

        That of dlib's networks, which are installed elsewhere, gets a folder here of its own.

        Raises:
            Unavailable: no such model is installed, or the folder cannot be written.
            Invalid: the card describes another file.
        """
        installed = self.card("dlib") if card.id == "dlib" else self.installed().get(card.id)
        if installed is None:
            raise Unavailable(_missing(card.id, self.known().get(card.id)))
        if installed.sha256 != card.sha256:
            raise Invalid(f"The card describes another file than the one installed as {card.id}.")
        with self._changing():
            folder = self._installed / card.id
            folder.mkdir(exist_ok=True)
            fresh = folder / f".{_CARD}"
            write_card(fresh, card)
            os.replace(fresh, folder / _CARD)
            flush_folder(folder)

    def remove(self, model: str) -> None:
        """Remove an installed model, damaged or not, and the graphs that were made of it.

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
            made = re.compile(re.escape(model) + r"(-[0-9a-f]{24}\.\w+|\.lock)")
            for file in self.directory.iterdir():
                if made.fullmatch(file.name):
                    file.unlink(missing_ok=True)

    def refuse_second(self, card: ModelCard) -> None:
        """Raise Conflict where a model of this id, or another detector of this family, is installed."""
        # The folder counts, not its card alone: a damaged model has to be removed first, too.
        taken = [card.id] if (self._installed / card.id).exists() else []
        if card.task == "detection":
            taken += [model for model, other in self.installed().items() if other.family == card.family]
        if taken:
            raise Conflict(
                f"{taken[0]} is installed already; to put {card.id} in its place, remove it first: "
                f"facesearch models remove {taken[0]}"
            )

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
    if not card.runs_here:
        return f"No code here runs {card.name}."
    return (
        f"The model {model} is not installed: add its file with `facesearch models add FILE --card {model}`."
    )


def _self_made(file: Path) -> ModelCard:
    """Read a card from outside; it may not call another file by the id of a known one."""
    card = read_card(file)
    known = built_in_cards().get(card.id)
    if known is not None and known.sha256 is not None and known.sha256 != card.sha256:
        raise Invalid(
            f"The id {card.id} is that of another file that is known here: give the card one of its own."
        )
    return card
