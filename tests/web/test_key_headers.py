import pytest

from facesearch.web.key_headers import key_of

KEY, NAMED = b"fs_abcd1234_x", b"X-API-Key"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(NAMED, KEY)], "fs_abcd1234_x"),
        ([(b"x-api-key", b" \tfs_abcd1234_x\t ")], "fs_abcd1234_x"),
        ([(b"Authorization", b"Bearer " + KEY)], "fs_abcd1234_x"),
        ([(b"authorization", b"bEARER   " + KEY)], "fs_abcd1234_x"),
        ([(NAMED, b"")], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Basic dTpw")], None),
        ([(b"authorization", KEY)], None),
        ([(b"authorization", b"Bearer" + KEY)], None),
        ([(b"authorization", b"Bearer\t" + KEY)], None),
        ([(b"authorization", b"Basic dTpw"), (NAMED, KEY)], "fs_abcd1234_x"),
        ([(b"x-api-key2", KEY), (b"cookie", b"X-API-Key=x")], None),
    ],
)
def test_a_key_comes_in_one_of_two_headers(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert key_of(headers) == key


@pytest.mark.parametrize(
    "headers",
    [
        [(NAMED, KEY), (NAMED, KEY)],
        [(NAMED, KEY), (NAMED, b"other")],
        [(NAMED, b""), (NAMED, KEY)],
        [(NAMED, KEY), (b"authorization", b"Bearer " + KEY)],
        [(b"authorization", b"Bearer " + KEY), (b"authorization", b"Bearer " + KEY)],
        [(NAMED, KEY + b", " + KEY)],
        [(b"authorization", b"Bearer " + KEY + b" " + KEY)],
        [(NAMED, KEY[:-1] + b"\xe9")],
        [(NAMED, KEY + b"\x00")],
    ],
)
def test_what_is_not_one_key_is_none_that_exists(headers: list[tuple[bytes, bytes]]) -> None:
    found = key_of(headers)
    assert found is not None
    assert found != KEY.decode()
