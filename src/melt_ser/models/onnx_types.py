"""The number types of an ONNX file: float32, float16, or int8 weights in the linear layers of the encoder.

Only the encoder changes its type. Normalisation, filter banks, the group norm over time and the head stay in float32: a
sum over a minute of samples overflows float16, and a head may weigh small differences heavily. int8 is the dynamic
quantisation of ONNX Runtime: a scale for each output of a layer, and one for its input in each call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

TYPES = ("float32", "float16", "int8")
MOST_BYTES = 2**31 - 2**24  # of the weights within an ONNX file, which is a message of at most 2 GiB
KEPT = ("log_mel/", "filter_bank/", "feature_extractor/conv_layers.0/layer_norm/")  # parts of a backbone


def convert(source: Path, target: Path, number_type: str, metadata: Mapping[str, str]) -> None:
    """Write a float32 graph of `onnx_graph.write_onnx` with numbers of another type, and with metadata.

    Weights of more than 2 GiB go into a file of their own beside it, with `.data` after the name.
    """
    if number_type == "float16":
        model = _half(source)
    elif number_type == "int8":
        model = _quantised(source)
    else:
        model = onnx.load(source)
    onnx.helper.set_model_props(model, dict(metadata))
    size = sum(len(weight.raw_data) for weight in model.graph.initializer)
    beside = {"save_as_external_data": True, "location": f"{target.name}.data"} if size > MOST_BYTES else {}
    onnx.save(model, target, **beside)


def is_of_encoder(name: str) -> bool:
    """Return whether a node, by its name, is part of a module of the encoder whose type may change."""
    within = name.partition("/backbone/")[2]
    return "/" in within and not within.startswith(KEPT)


def _half(source: Path) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kept = [node.name for node in _nodes(source) if not is_of_encoder(node.name)]
    model = convert_float_to_float16(str(source), keep_io_types=True, node_block_list=kept)
    _keep_exact(model.graph.node, set(kept))
    return model


def _keep_exact(nodes: Sequence[Any], kept: set[str]) -> None:
    """Pass numbers between nodes that stay in float32 as they are; the conversion rounds them to float16 on the way."""
    exact = {output for node in nodes if node.name in kept for output in node.output}
    rounded = {node.output[0]: node.input[0] for node in nodes if _casts(node, "FLOAT16") and node.input[0] in exact}
    for node in nodes:
        if _casts(node, "FLOAT") and node.input[0] in rounded:
            node.op_type = "Identity"
            del node.attribute[:]
            node.input[0] = rounded[node.input[0]]


def _casts(node: Any, number_type: str) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == getattr(onnx.TensorProto, number_type))


def _quantised(source: Path) -> Any:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = source.with_suffix(".int8.onnx")
    with _without_advice():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            # nodes_to_exclude would not keep the head: its Gemm becomes a MatMul of another name, which is quantised.
            nodes_to_quantize=[node.name for node in _nodes(source) if is_of_encoder(node.name)],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=has_data_beside(source),
        )
    return onnx.load(target)


def has_data_beside(path: Path) -> bool:
    """Return whether the weights of an ONNX file lie beside it."""
    graph = onnx.load(path, load_external_data=False).graph
    return any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in graph.initializer)


def _nodes(path: Path) -> Sequence[Any]:
    nodes: Sequence[Any] = onnx.load(path, load_external_data=False).graph.node
    return nodes


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the warnings of the quantisation, which are for developers."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
