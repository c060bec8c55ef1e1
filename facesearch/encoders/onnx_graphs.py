"""Turns dlib's two stored networks into ONNX graphs that compute the same numbers.

Imported only while a graph is built, because `onnx` is needed for nothing else. Scaling layers are
multiplied into the convolution before them in float64; what remains differs from dlib's own result by
rounding (embeddings by less than 1e-6). Any thread may call the functions.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from facesearch.encoders.dlib_stream import Layer, Network
from facesearch.errors import InvalidConfig

CROP_SIZE_PX = 150
DIMENSION = 128

_OPSET = 17
_IR_VERSION = 9
_BATCH_NORM_EPSILON = 1e-4  # dlib's default, which both files were trained with
_CHANNEL_BLOCK = 16  # ONNX Runtime's fast convolutions take whole blocks of channels

Array64 = NDArray[np.float64]


class _Map(NamedTuple):
    """A named value of the graph with its channels and, where it is known, its height and width."""

    name: str
    channels: int
    size_px: int = 0


class _Graph:
    """The nodes and weights of one graph; lives while it is built."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def constant(self, values: NDArray[Any]) -> str:
        name = f"weight_{len(self._weights)}"
        kept = values.astype(np.float32) if values.dtype == np.float64 else values
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolve(self, x: str, weights: Array64, bias: Array64 | None, stride: int, pads: list[int]) -> str:
        inputs = [x, self.constant(weights)] + ([] if bias is None else [self.constant(bias)])
        kernel = list(weights.shape[2:])
        return self.add("Conv", inputs, kernel_shape=kernel, strides=[stride, stride], pads=pads)

    def serialize(self, name: str, graph_input: Any, graph_output: Any) -> bytes:
        graph = helper.make_graph(self._nodes, name, [graph_input], [graph_output], self._weights)
        imports = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
        checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def build_resnet(network: Network) -> bytes:
    """Return the embedding network as a serialized ONNX model.

    Its input `crops` is uint8 of shape (n, 150, 150, 3), RGB; its output `embeddings` is float32 of
    shape (n, 128). Means are subtracted and pixels divided by 256 inside.

    Raises:
        InvalidConfig: the layers are not those of dlib_face_recognition_resnet_model_v1.
    """
    _require(network.loss == "loss_metric_2" and len(network.layers) == 108, "layers")
    graph = _Graph()
    x = _stem(graph, network)
    at = 4
    while network.layers[at].kind == "con_4":
        pooled = network.layers[at + 5].kind == "avg_pool_2"
        length = 8 if pooled else 7
        x = _residual(graph, network.layers[at : at + length], x, pooled)
        at += length
    pooling, product = network.layers[at:]
    _require(pooling.kind == "avg_pool_2" and pooling.integers[:2] == (0, 0), "pooling")
    _require(product.kind == "fc_2" and product.integers[:2] == (DIMENSION, x.channels), "product")
    pooled_name = graph.add("Flatten", [graph.add("GlobalAveragePool", [x.name])])
    weights = graph.constant(product.tensors[0].reshape(x.channels, DIMENSION))
    graph.add("MatMul", [pooled_name, weights], output="embeddings")
    shape: list[str | int | None] = ["n", CROP_SIZE_PX, CROP_SIZE_PX, 3]
    return graph.serialize(
        "dlib_face_recognition_resnet_model_v1",
        helper.make_tensor_value_info("crops", TensorProto.UINT8, shape),
        helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", DIMENSION]),
    )


def build_detector(network: Network) -> bytes:
    """Return the face detector as a serialized ONNX model.

    Its input `pixels` is float32 of shape (1, 3, height, width) with means subtracted and divided by
    256; its output `scores` is float32 of shape (1, 1, rows, columns), one per 8x8 pixels.

    Raises:
        InvalidConfig: the layers are not those of mmod_human_face_detector.
    """
    _require(network.loss == "loss_mmod_" and len(network.layers) == 19, "layers")
    graph = _Graph()
    x = _Map("pixels", 3)
    for at in range(0, 18, 3):
        convolution, norm, relu = network.layers[at : at + 3]
        _require(norm.kind == "bn_con2" and relu.kind == "relu_", "order")
        weights, bias = _batch_normalized(*_filters(convolution, x.channels), norm)
        x = _detector_step(graph, x, convolution, weights, bias)
    weights, bias = _filters(network.layers[18], x.channels)
    _last_detector_step(graph, x, weights, bias)
    return graph.serialize(
        "mmod_human_face_detector",
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, "height", "width"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, "rows", "columns"]),
    )


def _stem(graph: _Graph, network: Network) -> _Map:
    """Normalize, 7x7 convolution, relu, max pool. The division is by a power of two: exact in the weights."""
    convolution, scale, relu, pool = network.layers[:4]
    _require(relu.kind == "relu_" and pool.integers == (3, 3, 2, 2, 0, 0), "stem")
    planes = graph.add("Transpose", ["crops"], perm=[0, 3, 1, 2])
    values = graph.add("Cast", [planes], to=TensorProto.FLOAT)
    means = np.array(network.means, np.float32).reshape(1, 3, 1, 1)
    centred = _Map(graph.add("Sub", [values, graph.constant(means)]), 3, CROP_SIZE_PX)
    x = _scaled_convolution(graph, centred, convolution, scale, divisor=256)
    name = graph.add("MaxPool", [graph.add("Relu", [x.name])], kernel_shape=[3, 3], strides=[2, 2])
    return _Map(name, x.channels, (x.size_px - 3) // 2 + 1)


def _residual(graph: _Graph, layers: tuple[Layer, ...], x: _Map, pooled: bool) -> _Map:
    """Two convolutions added to their input; where sides differ the smaller is zero-padded at the end."""
    _require(layers[2].kind == "relu_" and layers[-2].kind == "add_prev_", "block")
    main = _scaled_convolution(graph, x, layers[0], layers[1])
    main = main._replace(name=graph.add("Relu", [main.name]))
    main = _scaled_convolution(graph, main, layers[3], layers[4])
    skip = _pooled_skip(graph, x, main.channels) if pooled else x
    excess = skip.size_px - main.size_px
    _require(skip.channels == main.channels and excess in (0, 1), "block size")
    if excess:
        ends = np.array([0, 0, 0, 0, 0, 0, excess, excess], np.int64)
        main = main._replace(name=graph.add("Pad", [main.name, graph.constant(ends)]))
    total = graph.add("Add", [main.name, skip.name])
    return _Map(graph.add("Relu", [total]), main.channels, skip.size_px)


def _pooled_skip(graph: _Graph, x: _Map, channels: int) -> _Map:
    """Average 2x2 pixels, and add channels of zeros.

    With channels to add this is a convolution, which keeps ONNX Runtime in its blocked layout; a Pad of
    the channels would leave and enter it again.
    """
    size_px = x.size_px // 2
    if channels == x.channels:
        name = graph.add("AveragePool", [x.name], kernel_shape=[2, 2], strides=[2, 2])
        return _Map(name, channels, size_px)
    weights = np.zeros((channels, x.channels, 2, 2))
    weights[np.arange(x.channels), np.arange(x.channels)] = 0.25
    return _Map(graph.convolve(x.name, weights, None, 2, [0, 0, 0, 0]), channels, size_px)


def _scaled_convolution(graph: _Graph, x: _Map, layer: Layer, scale: Layer, divisor: int = 1) -> _Map:
    """A convolution with the gammas and betas of the layer after it multiplied in."""
    weights, bias = _filters(layer, x.channels)
    count, size, _, stride, _, pad, _ = layer.integers
    _require(scale.kind == "affine_" and scale.tensors[0].size == 2 * count, "scale")
    gammas, betas = np.split(scale.tensors[0].ravel().astype(np.float64), 2)
    weights = weights * gammas[:, None, None, None] / divisor
    bias = bias * gammas + betas
    size_px = (x.size_px + 2 * pad - size) // stride + 1
    if x.size_px == 1 and pad == 1 and size == 3:
        weights, pad = weights[:, :, 1:2, 1:2], 0  # all but the middle would only see the padding
    return _Map(graph.convolve(x.name, weights, bias, stride, [pad] * 4), count, size_px)


def _detector_step(graph: _Graph, x: _Map, layer: Layer, weights: Array64, bias: Array64) -> _Map:
    """Convolution and relu; channels of zeros fill the last block where there is more than one."""
    _, _, _, stride, _, pad, _ = layer.integers
    count = len(bias)
    missing = -count % _CHANNEL_BLOCK
    weights = np.pad(weights, [(0, missing), (0, 0), (0, 0), (0, 0)])
    bias = np.pad(bias, (0, missing))
    surplus = -x.channels % _CHANNEL_BLOCK if x.channels > _CHANNEL_BLOCK else 0
    weights = np.pad(weights, [(0, 0), (0, surplus), (0, 0), (0, 0)])
    name = graph.convolve(x.name, weights, bias, stride, [pad] * 4)
    return _Map(graph.add("Relu", [name]), count)


def _last_detector_step(graph: _Graph, x: _Map, weights: Array64, bias: Array64) -> None:
    """The 9x9 convolution to one channel: a row of nine for each of nine rows, then their sum.

    Convolutions compute whole blocks of channels, so that one channel alone would cost as much as 16.
    """
    rows = weights[0].transpose(1, 0, 2)[:, :, None, :]
    rows = np.pad(rows, [(0, 0), (0, -x.channels % _CHANNEL_BLOCK), (0, 0), (0, 0)])
    name = graph.convolve(x.name, rows, None, 1, [0, 4, 0, 4])
    sums = np.eye(9).reshape(1, 9, 9, 1)
    inputs = [name, graph.constant(sums), graph.constant(bias)]
    graph.add("Conv", inputs, output="scores", kernel_shape=[9, 1], pads=[4, 0, 4, 0])


def _filters(layer: Layer, channels: int) -> tuple[Array64, Array64]:
    """Return filters of shape (count, channels, rows, columns) and the biases, float64."""
    _require(layer.kind == "con_4", "order")
    count, rows, columns, *_ = layer.integers
    values = layer.tensors[0].ravel().astype(np.float64)
    _require(values.size == count * (channels * rows * columns + 1), "filters")
    return values[:-count].reshape(count, channels, rows, columns), values[-count:]


def _batch_normalized(weights: Array64, bias: Array64, norm: Layer) -> tuple[Array64, Array64]:
    """Multiply a batch normalization, as it is at inference, into the convolution before it."""
    parameters, _, _, means, variances = (tensor.ravel().astype(np.float64) for tensor in norm.tensors)
    _require(parameters.size == 2 * bias.size and means.size == variances.size == bias.size, "norm")
    gammas, betas = np.split(parameters, 2)
    scales = gammas / np.sqrt(variances + _BATCH_NORM_EPSILON)
    return weights * scales[:, None, None, None], (bias - means) * scales + betas


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise InvalidConfig(f"The model file holds an unexpected network ({what}).")
