"""Who is in a photo, by where the photo lay; and paths that a stranger wrote, as they may be shown."""

import re
import unicodedata
from pathlib import PurePosixPath

from facesearch.errors import InvalidParameter

LONGEST_NAME = 255

_NAME_AND_VERSION = re.compile(r"(?P<name>.+)_(?P<version>\d{4})", re.DOTALL)

# Cameras number their files the same way; theirs is a counter and not a person (DCF, JEITA CP-3461).
_CAMERA_PREFIXES = frozenset({"img", "_mg", "dsc", "_dsc", "dscn", "dscf", "pict", "mvi", "pxl"})

_UNSEEN = frozenset(["Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"])

_DRIVE = re.compile(r"\A[A-Za-z]:")
# They turn the order of what follows, up to a suffix that looks like another one (Unicode UAX 9).
_TURNS_TEXT = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
# Zero width, and yet they change what is seen: of emoji, and of Persian and Indian words.
_JOINERS = "\u200c\u200d"
# Fillers that count as letters (Default_Ignorable_Code_Point), and the Braille pattern without a dot.
_EMPTY = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def person_and_version(path: str, only_top_folder: str | None = None) -> tuple[str, str]:
    """Read a person's name and a version from a photo's path.

    `Aaron_Eckhart_0001.jpg` is ("Aaron Eckhart", "0001"). Any other file is named by its parent folder,
    where it has one that is not the archive's only top folder, and by its own stem elsewhere; its
    version is empty.

    Args:
        path: the file's path inside its archive, or its plain name; `/` separates.
        only_top_folder: the folder that all of an archive lies in, where there is one.

    Raises:
        InvalidParameter: the name is longer than a person's may be.
    """
    name, version = _person_and_version(PurePosixPath(readable_path(path)), only_top_folder)
    if len(name) > LONGEST_NAME:
        raise InvalidParameter(
            f"The person's name, here the file's name or folder, has more than {LONGEST_NAME} characters."
        )
    return name, version


def version_of(path: str) -> str:
    """The version that `person_and_version` reads, of a photo whose person is named elsewhere."""
    return _person_and_version(PurePosixPath(readable_path(path)), None)[1]


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
    """The one spelling of a name that somebody gave to a person: see `shown_name`.

    Raises:
        InvalidParameter: it would not be shown as it is: see `readable`; there is a blank at an end of it, or
            nothing of it would be seen. Empty it may be.
    """
    name, plain = shown_name(text), unicodedata.normalize("NFC", text)
    if plain != readable(plain).strip() or name != name.strip():
        raise InvalidParameter(
            "A person's name has no control character, none that turns text, and no blank at either end."
        )
    if text and not name:
        raise InvalidParameter("A person's name has a character that can be seen.")
    return name


def shown_name(text: str) -> str:
    """One spelling (NFC) for names that look the same: without format characters, which nobody sees.

    Joiners stay between others. Empty where nothing would be seen.
    """
    if text.isascii():
        return text
    kept = "".join(one for one in text if one in _JOINERS or unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFC", kept.strip(_JOINERS)) if any(map(_is_seen, kept)) else ""


def name_in(text: str) -> str:
    """The name in a text that nobody gave as one: what is none of a name is left out."""
    return " ".join(shown_name(readable(text)).split())


def _is_seen(character: str) -> bool:
    return character not in _EMPTY and unicodedata.category(character) not in _UNSEEN


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    return "" if category == "Cc" or character in _TURNS_TEXT else character


def _person_and_version(file: PurePosixPath, only_top_folder: str | None) -> tuple[str, str]:
    numbered = _NAME_AND_VERSION.fullmatch(shown_name(file.stem))
    if numbered and numbered["name"].lower() not in _CAMERA_PREFIXES:
        name = _words(numbered["name"])
        if name:
            return name, numbered["version"]
    folder = file.parent
    if folder.name and str(folder) != only_top_folder:
        return _words(folder.name) or name_in(file.stem) or name_in(file.name), ""
    return _words(file.stem) or name_in(file.name), ""


def _words(text: str) -> str:
    return name_in(text.replace("_", " "))
