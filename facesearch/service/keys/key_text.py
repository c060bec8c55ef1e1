"""What a key looks like: `fs_`, eight characters by which people tell it apart, `_`, 43 drawn at random.

Pure functions, safe from any thread.
"""

import hashlib
import re
import secrets
import string

PREFIX_CHARACTERS = 8
# 62 ** 43 is more than 2 ** 256.
SECRET_CHARACTERS = 43

_DIGITS = string.digits + string.ascii_letters
_PREFIX_DIGITS = string.digits + string.ascii_lowercase
_FORM = re.compile(rf"fs_([0-9a-z]{{{PREFIX_CHARACTERS}}})_[0-9A-Za-z]{{{SECRET_CHARACTERS}}}")


def new_key_text() -> str:
    """Draw a key from the operating system's randomness."""
    prefix = "".join(secrets.choice(_PREFIX_DIGITS) for _ in range(PREFIX_CHARACTERS))
    return f"fs_{prefix}_{''.join(secrets.choice(_DIGITS) for _ in range(SECRET_CHARACTERS))}"


def prefix_of(text: str) -> str | None:
    """The prefix of a key, None where the text has not the form of one."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def digest_of(text: str) -> bytes:
    """The SHA-256 of a key. Its secret has 256 bits: nothing slower is needed against guesses."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
