import math

import pytest

from facesearch.service.keys.key_text import SECRET_CHARACTERS, digest_of, new_key_text, prefix_of


def test_a_key_has_its_form_and_256_bits() -> None:
    texts = {new_key_text() for _ in range(200)}
    assert len(texts) == 200
    for text in texts:
        name, prefix, secret = text.split("_")
        assert (name, prefix) == ("fs", prefix_of(text))
        assert len(secret) == SECRET_CHARACTERS
    used = {character for text in texts for character in text.split("_")[2]}
    assert len(used) == 62
    assert SECRET_CHARACTERS * math.log2(len(used)) >= 256


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[1:],
        lambda text: text + "A",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace("_", "-"),
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "٣",
        lambda text: "",
    ],
)
def test_what_differs_in_form_is_no_key(change: object) -> None:
    assert callable(change)
    assert prefix_of(change(new_key_text())) is None


def test_a_digest_is_that_of_the_whole_text() -> None:
    assert digest_of("abc").hex().startswith("ba7816bf8f01cfea")
    assert digest_of("\ud83d") != digest_of("\ud83e")
