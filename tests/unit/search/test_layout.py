import numpy as np
import pytest

from facesearch.search.layout import (
    PAGE_BYTES,
    Damaged,
    Header,
    Layout,
    decode_count,
    encode_count,
    record_type,
    row_checks,
)

HEADER = Header("model", 128, "00000000-0000-4000-8000-000000000001", "ab" * 16)


def test_a_header_is_read_as_it_was_written() -> None:
    assert Header.from_bytes(HEADER.to_bytes()) == HEADER
    assert Header.from_bytes(HEADER.to_bytes().ljust(PAGE_BYTES, b"\0")) == HEADER


def test_every_flipped_bit_of_a_header_is_damage() -> None:
    data = HEADER.to_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            Header.from_bytes(bytes(flipped))


def test_every_shorter_header_is_damage() -> None:
    data = HEADER.to_bytes()
    for length in range(len(data)):
        with pytest.raises(Damaged):
            Header.from_bytes(data[:length])


def test_names_too_long_for_a_header_are_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        Header("m" * PAGE_BYTES, 128, "database", "generation").to_bytes()


def test_every_flipped_bit_of_the_published_word_is_damage() -> None:
    word = encode_count(123_456, HEADER.generation)
    assert decode_count(word, HEADER.generation) == 123_456
    for bit in range(64):
        with pytest.raises(Damaged):
            decode_count(word ^ 1 << bit, HEADER.generation)


@pytest.mark.parametrize("word", [0, 2**64 - 1, 123_456])
def test_words_that_were_never_published_are_damage(word: int) -> None:
    with pytest.raises(Damaged):
        decode_count(word, HEADER.generation)


@pytest.mark.parametrize(("dimension", "block_rows", "codes"), [(1, 1, 0), (128, 4096, 64), (1024, 7, 64)])
def test_columns_lie_beside_each_other_and_fill_their_block(
    dimension: int, block_rows: int, codes: int
) -> None:
    header = Header("model", dimension, "database", "generation", block_rows, codes, 10_000 * (codes > 0))
    layout, record = Layout.of(header), record_type(dimension, codes)
    assert layout.blocks_at % PAGE_BYTES == 0
    assert layout.blocks_at >= 2 * PAGE_BYTES + header.encoder_bytes
    buffer = bytearray(layout.file_bytes(2 * block_rows))
    for value, name in enumerate(record.names or (), 1):
        column = layout.column(buffer, name, 2)
        assert column.shape[:2] == (2, block_rows)
        assert not np.any(column), "the column overlaps another"
        column[...] = value
    assert layout.block_bytes % PAGE_BYTES == 0
    assert layout.blocks_in(len(buffer)) == 2


def test_every_flipped_bit_of_a_row_is_damage_and_so_are_zeros() -> None:
    records = np.zeros(3, record_type(2, 64))
    records["number"], records["vector"] = [7, 8, 9], 0.5
    good = row_checks(records)
    assert len(set(good.tolist())) == 3
    data = records.tobytes()
    size = records.dtype.itemsize
    for bit in range(8 * (size - 4)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert row_checks(np.frombuffer(bytes(flipped), records.dtype))[0] != good[0]
    assert row_checks(np.zeros(1, records.dtype))[0] != 0
