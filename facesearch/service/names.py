"""Who is in a photo, by where the photo lay."""

import re
import unicodedata
from pathlib import PurePosixPath

_NAME_AND_VERSION = re.compile(r"(?P<name>.+)_(?P<version>\d{4})", re.DOTALL)

# Cameras number their files the same way; theirs is a counter and not a person (DCF, JEITA CP-3461).
_CAMERA_PREFIXES = frozenset({"img", "_mg", "dsc", "_dsc", "dscn", "dscf", "pict", "mvi", "pxl"})


def person_and_version(path: str, only_top_folder: str | None = None) -> tuple[str, str]:
    """Read a person's name and a version from a photo's path.

    `Aaron_Eckhart_0001.jpg` is ("Aaron Eckhart", "0001"). Any other file is named by its parent folder,
    where it has one that is not the archive's only top folder, and by its own stem elsewhere; its
    version is empty.

    Args:
        path: the file's path inside its archive, or its plain name; `/` separates.
        only_top_folder: the folder that all of an archive lies in, where there is one.
    """
    file = PurePosixPath(_readable(path))
    numbered = _NAME_AND_VERSION.fullmatch(file.stem)
    if numbered and numbered["name"].lower() not in _CAMERA_PREFIXES:
        name = _words(numbered["name"])
        if name:
            return name, numbered["version"]
    folder = file.parent
    if folder.name and str(folder) != only_top_folder:
        return _words(folder.name) or file.stem, ""
    return _words(file.stem) or file.name, ""


def base_name(path: str) -> str:
    """The last part of a path that a client gave, for whatever system it was written."""
    return PurePosixPath(_readable(path)).name


def _readable(text: str) -> str:
    """One spelling for names that look the same; nothing that would move a terminal's cursor."""
    composed = unicodedata.normalize("NFC", text.replace("\\", "/"))
    return "".join(c for c in composed if unicodedata.category(c) not in {"Cc", "Cs"})


def _words(text: str) -> str:
    return " ".join(text.replace("_", " ").split())
