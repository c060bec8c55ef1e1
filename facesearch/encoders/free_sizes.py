"""Lets a network take pictures of any size, where its file names one size that its layers do not need."""

from pathlib import Path

from facesearch.errors import InvalidConfig


def free_sizes(file: Path) -> bytes:
    """Return a serialized ONNX model whose inputs and outputs have any number, height and width.

    Exporters write down the size of the example that they were run on. Where the layers are convolutions the
    size is of no other meaning, and ONNX Runtime would refuse pictures of others.

    Args:
        file: a model; its inputs are of shape (number, channels, height, width).

    Raises:
        InvalidConfig: it is not an ONNX file.
    """
    # Not at import: whoever has no such detector would pay for it with 12 MB.
    import onnx  # noqa: PLC0415

    try:
        model = onnx.load(str(file), format="protobuf", load_external_data=False)
    except Exception:  # the parser raises errors of its own, of several kinds
        raise InvalidConfig("The detector's weights are not an ONNX file, or cannot be read.") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in weights and len(dimensions) == 4:
            for name, at in (("number", 0), ("height", 2), ("width", 3)):
                dimensions[at].dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    # What is noted of the values in between holds for the size of the example.
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())
