from pathlib import Path

import numpy as np
import pytest

from facesearch.encoders.dlib_stream import DETECTOR_SHA256, RESNET_SHA256, parse_network, read_network
from facesearch.errors import InvalidConfig
from tests.unit.encoders.models import DETECTOR, RESNET


def test_the_embedding_network_is_read_layer_by_layer() -> None:
    network = read_network(RESNET, RESNET_SHA256)
    kinds = [layer.kind for layer in network.layers]
    assert network.loss == "loss_metric_2"
    assert network.means == pytest.approx((122.782, 117.001, 104.298), abs=1e-5)
    assert kinds.count("con_4") == kinds.count("affine_") == 29
    assert network.layers[0].integers == (32, 7, 7, 2, 2, 0, 0)
    assert network.layers[-1].tensors[0].shape == (256, 128, 1, 1)
    assert all(tensor.dtype == np.float32 for layer in network.layers for tensor in layer.tensors)


def test_the_detector_is_read_with_its_options() -> None:
    network = read_network(DETECTOR, DETECTOR_SHA256)
    assert network.loss == "loss_mmod_"
    assert network.loss_options[:2] == (80.0, 80.0)
    assert network.loss_options[5] == pytest.approx(0.33827614)
    assert [layer.integers[0] for layer in network.layers if layer.kind == "con_4"] == [
        *(16, 32, 32, 45, 45, 45, 1)
    ]


def test_a_changed_file_is_refused_by_name_and_without_its_path(tmp_path: Path) -> None:
    content = bytearray(DETECTOR.read_bytes())
    content[-200] ^= 1
    changed = tmp_path / "changed.dat"
    changed.write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"changed\.dat is not the one") as caught:
        read_network(changed, DETECTOR_SHA256)
    assert str(tmp_path) not in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_network(tmp_path / "none.dat", DETECTOR_SHA256)


@pytest.mark.parametrize("size", [0, 1, 5, 60, 140, 5_000, 300_000, 729_939])
def test_a_file_cut_short_is_refused(size: int) -> None:
    with pytest.raises(InvalidConfig, match="early end"):
        parse_network(DETECTOR.read_bytes()[:size], "cut.dat")


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (1, 2, "unknown version of the network"),
        (4, ord("x"), "unknown loss"),
        (2, 0x7F, "damaged integer"),
        (94, ord("x"), "unknown input"),
        (137, ord("x"), "unknown layer"),
        (143, 9, "unknown version of a tensor"),
        (5067, ord("7"), "damaged flag"),
        (209, 0xFF, "not finite"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(offset: int, value: int, reason: str) -> None:
    content = bytearray(DETECTOR.read_bytes())
    content[offset] = value
    if reason == "not finite":
        content[offset - 9 : offset + 11] = b"\xff" * 20
    with pytest.raises(InvalidConfig, match=reason):
        parse_network(bytes(content), "damaged.dat")


def test_a_file_with_something_after_its_end_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"impossible name|early end|unknown layer"):
        parse_network(DETECTOR.read_bytes() + b"\x01\x00", "long.dat")


def test_a_tensor_of_impossible_size_is_refused_before_memory_is_taken() -> None:
    content = DETECTOR.read_bytes()
    huge = b"\x04\xff\xff\xff\x7f"
    at = content.index(b"con_4") + 5 + 2  # past the name and the tensor's version
    with pytest.raises(InvalidConfig, match="impossible shape"):
        parse_network(content[:at] + huge * 4 + content[at + 10 :], "huge.dat")
