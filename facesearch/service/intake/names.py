"""Who is in a photo, by where the photo lay; and paths that a stranger wrote, as they may be shown."""

import re
import unicodedata
from pathlib import PurePosixPath

from facesearch.errors import InvalidParameter

LONGEST_NAME = 255

_NAME_AND_VERSION = re.compile(r"(?P<name>.+)_(?P<version>\d{4})", re.DOTALL)

# Cameras number their files the same way; theirs is a counter and not a person (DCF, JEITA CP-3461).
_CAMERA_PREFIXES = frozenset({"img", "_mg", "dsc", "_dsc", "dscn", "dscf", "pict", "mvi", "pxl"})

_DRIVE = re.compile(r"\A[A-Za-z]:")
# They turn the order of what follows, up to a suffix that looks like another one (Unicode UAX 9).
_TURNS_TEXT = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def person_and_version(path: str, only_top_folder: str | None = None) -> tuple[str, str]:
    """Read a person's name and a version from a photo's path.

    `Aaron_Eckhart_0001.jpg` is ("Aaron Eckhart", "0001"). Any other file is named by its parent folder,
    where it has one that is not the archive's only top folder, and by its own stem elsewhere; its
    version is empty.

    Args:
        path: the file's path inside its archive, or its plain name; `/` separates.
        only_top_folder: the folder that all of an archive lies in, where there is one.

    Raises:
        InvalidParameter: the name is longer than a name may be.
    """
    name, version = _person_and_version(PurePosixPath(readable_path(path)), only_top_folder)
    if len(name) > LONGEST_NAME:
        raise InvalidParameter(f"The person's name has more than {LONGEST_NAME} characters.")
    return name, version


def base_name(path: str) -> str:
    """The last part of a path that a client gave, for whatever system it was written."""
    return PurePosixPath(readable_path(path)).name


def readable_path(text: str) -> str:
    """A path below some folder, spelled the one way that reports, names and people.csv have it.

    `/` separates its parts. What would lead elsewhere is left out: a drive, a root, `.` and `..`. See
    `readable` for the characters.
    """
    parts = _DRIVE.sub("", readable(text).replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def readable(text: str) -> str:
    """One spelling (NFC) for what looks the same, without what moves a terminal's cursor or turns text.

    Half of a surrogate pair, which nothing can store, becomes U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", "".join(map(_shown, text)))


def given_name(text: str) -> str:
    """The one spelling (NFC) of a name that somebody gave to a person.

    Raises:
        InvalidParameter: it would not be shown as it is: see `readable`; or there is a blank at an end of it.
    """
    name = unicodedata.normalize("NFC", text)
    if name != readable(name).strip():
        raise InvalidParameter(
            "A person's name has no control character, none that turns text, and no blank at either end."
        )
    return name


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return "" if category == "Cc" or character in _TURNS_TEXT else character


def _person_and_version(file: PurePosixPath, only_top_folder: str | None) -> tuple[str, str]:
    numbered = _NAME_AND_VERSION.fullmatch(file.stem)
    if numbered and numbered["name"].lower() not in _CAMERA_PREFIXES:
        name = _words(numbered["name"])
        if name:
            return name, numbered["version"]
    folder = file.parent
    if folder.name and str(folder) != only_top_folder:
        return _words(folder.name) or file.stem.strip(), ""
    return _words(file.stem) or file.name.strip(), ""


def _words(text: str) -> str:
    return " ".join(text.replace("_", " ").split())
