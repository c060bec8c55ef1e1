"""Copies the files of models, and makes sure that they are what they should be and stay."""

import hashlib
import os
from pathlib import Path

from facesearch.encoders.cards import ModelCard
from facesearch.encoders.onnx_file import MOST_BYTES, check_onnx_file
from facesearch.errors import Invalid

_BLOCK = 1 << 20


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


def copied(file: Path, copy: Path, card: ModelCard) -> ModelCard:
    """Copy a model's file durably, and return its card with the copy's SHA-256 and size.

    Args:
        file: the weights, in one ONNX file.
        copy: where the copy goes, in a folder of the caller's own.
        card: what the file is.

    Raises:
        Invalid: the file cannot be read, is too large, is not the card's, or is no whole ONNX file.
    """
    size, digest = 0, hashlib.sha256()
    if not file.is_file():
        raise Invalid(f"There is no file {file.name}.")
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


def write_card(file: Path, card: ModelCard) -> None:
    """Write a card durably."""
    with file.open("w", encoding="utf-8") as written:
        written.write(card.model_dump_json(indent=2) + "\n")
        written.flush()
        os.fsync(written.fileno())


def flush_folder(folder: Path) -> None:
    """Make renames in a folder last."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
