"""Writes a BERT model down as a graph for ONNX Runtime whose weights are whole numbers of 8 bits.

Each row that goes into a matrix product is scaled by its own largest value. So a text's vector is the same whatever else is
in its batch, which the usual way, one scale for the whole batch, cannot promise; and the sums are those of whole numbers, so
the vectors of two processors differ by no more than rounding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from knowledge.runtimes.bert_folder import BertFolder

IDS, MASK, HIDDEN = "ids", "mask", "hidden"

_MICROSOFT = "com.microsoft"
_OPSETS = {"": 18, _MICROSOFT: 1}
_IR_VERSION = 10
"""The format's version that goes with these operators; newer ones are refused by older runtimes."""
_LEAST_GELU = 0.17
"""GELU gives nothing below -0.16998: so much higher, its values need no sign, and have a step of half the size."""

_Array = NDArray[Any]
Weights = Mapping[str, NDArray[np.float32]]


def bert_graph(bert: BertFolder, weights: Weights, *, signed: bool) -> bytes:
    """Write the graph.

    It takes `ids` (int64) and `mask` (int32, 1 for tokens and 0 for padding), both of shape (texts, tokens), and gives `hidden`,
    float32 of shape (texts, tokens, dimension).

    Args:
        weights: by their names in the model's file.
        signed: keep weights as -127 to 127, else as 1 to 255 with 128 for 0. The vectors are the same: processors differ in
            which of the two they multiply fast and without overflow.

    Raises: KeyError: a weight is missing.
    """
    return _Writer(bert, weights, signed=signed).write()


class _Writer:
    """Collects nodes and constants; methods give the name of what they compute."""

    def __init__(self, bert: BertFolder, weights: Weights, *, signed: bool) -> None:
        self._bert = bert
        self._weights = weights
        self._signed = signed
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def write(self) -> bytes:
        bert = self._bert
        self._shared()
        hidden = self._embeddings()
        for number in range(bert.layers):
            hidden = self._layer(number, hidden)
        self._node("Reshape", [hidden, "hidden_shape"], HIDDEN)
        graph = helper.make_graph(
            self._nodes,
            "bert",
            [
                helper.make_tensor_value_info(IDS, TensorProto.INT64, ["texts", "tokens"]),
                helper.make_tensor_value_info(MASK, TensorProto.INT32, ["texts", "tokens"]),
            ],
            [helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, ["texts", "tokens", bert.dimension])],
            self._constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        written: bytes = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION
        ).SerializeToString()
        return written

    def _shared(self) -> None:
        for name, value in (("one", 1), ("steps", 127), ("unsigned_steps", 255), ("tiny", 1e-9)):
            self._constant(name, np.float32(value))
        self._constant("gelu_rise", np.float32(_LEAST_GELU))
        for name, number in (("zero_at_128", 128), ("zero_at_0", 0)):
            self._constant(name, np.uint8(number))
        for name, shape in (("first", [0]), ("second", [1]), ("last", [-1])):
            self._constant(name, np.array(shape, np.int64))
        # Most of the graph has a row for each token of each text; attention alone tells texts apart.
        self._constant("rows_shape", np.array([-1, self._bert.dimension], np.int64))
        self._node("Shape", [IDS], "ids_shape")
        for name, width in (
            ("hidden_shape", self._bert.dimension),
            ("three_shape", 3 * self._bert.dimension),
        ):
            self._node(
                "Concat",
                ["ids_shape", self._constant(f"{name}_width", np.array([width], np.int64))],
                name,
                axis=0,
            )

    def _embeddings(self) -> str:
        table = "embeddings."
        places = self._weight(f"{table}position_embeddings.weight")
        # There is one text, so all its tokens are of the first type.
        places = places + self._weight(f"{table}token_type_embeddings.weight")[0]
        words = self._node(
            "Gather", [self._constant("words", self._weight(f"{table}word_embeddings.weight")), IDS], "word"
        )
        length = self._node(
            "Slice", ["ids_shape", "second", self._constant("two", np.array([2], np.int64))], "length"
        )
        place = self._node("Slice", [self._constant("places", places), "first", length, "first"], "place")
        added = self._node("Add", [words, place], "embedded")
        normal = self._node(
            "LayerNormalization",
            [added, *self._normalisation(f"{table}LayerNorm", "embedded")],
            "normal",
            epsilon=self._bert.epsilon,
        )
        rows = self._node("Reshape", [normal, "rows_shape"], "rows")
        count = self._node("Shape", [rows], "count", start=0, end=1)
        for zero in (0, 128):
            value = helper.make_tensor("value", TensorProto.UINT8, [1], [zero])
            self._node("ConstantOfShape", [count], f"rows_of_{zero}", value=value)
        return rows

    def _layer(self, number: int, rows: str) -> str:
        source, name = f"encoder.layer.{number}", f"layer{number}"
        own = [f"{source}.attention.self.{part}" for part in ("query", "key", "value")]
        three = self._product(
            rows, np.concatenate([self._weight(f"{part}.weight") for part in own]), f"{name}.three"
        )
        bias = np.concatenate([self._weight(f"{part}.bias") for part in own])
        attended = self._attention(three, bias, f"{name}.attended")
        given = self._product(
            attended, self._weight(f"{source}.attention.output.dense.weight"), f"{name}.given"
        )
        bias = self._weight(f"{source}.attention.output.dense.bias")
        rows = self._add_and_normalise(
            given, rows, bias, f"{source}.attention.output.LayerNorm", f"{name}.middle"
        )
        wide = self._product(rows, self._weight(f"{source}.intermediate.dense.weight"), f"{name}.wide")
        bias = self._weight(f"{source}.intermediate.dense.bias")
        active = self._node(
            "BiasGelu", [wide, self._constant(f"{name}.wide.bias", bias)], f"{name}.active", domain=_MICROSOFT
        )
        narrow, too_much = self._product_of_gelu(
            active, self._weight(f"{source}.output.dense.weight"), f"{name}.narrow"
        )
        bias = self._weight(f"{source}.output.dense.bias") - too_much
        return self._add_and_normalise(narrow, rows, bias, f"{source}.output.LayerNorm", f"{name}.out")

    def _attention(self, three: str, bias: _Array, name: str) -> str:
        shaped = self._node("Reshape", [three, "three_shape"], f"{name}.three")
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        self._nodes.append(helper.make_node("Split", [shaped], parts, axis=-1, num_outputs=3))
        found = self._node(
            "MultiHeadAttention",
            [*parts, self._constant(f"{name}.bias", bias), MASK],
            f"{name}.found",
            domain=_MICROSOFT,
            num_heads=self._bert.heads,
        )
        return self._node("Reshape", [found, "rows_shape"], name)

    def _add_and_normalise(self, rows: str, earlier: str, bias: _Array, source: str, name: str) -> str:
        return self._node(
            "SkipLayerNormalization",
            [rows, earlier, *self._normalisation(source, name), self._constant(f"{name}.bias", bias)],
            name,
            domain=_MICROSOFT,
            epsilon=self._bert.epsilon,
        )

    def _normalisation(self, source: str, name: str) -> list[str]:
        return [
            self._constant(f"{name}.gamma", self._weight(f"{source}.weight")),
            self._constant(f"{name}.beta", self._weight(f"{source}.bias")),
        ]

    def _product(self, rows: str, weight: _Array, name: str) -> str:
        """Multiply rows by a weight of shape (out, in)."""
        largest = self._node(
            "ReduceMax", [self._node("Abs", [rows], f"{name}.abs"), "last"], f"{name}.max", keepdims=0
        )
        largest = self._node("Max", [largest, "tiny"], f"{name}.largest")
        step = self._node("Div", [largest, "steps"], f"{name}.step")
        whole = self._node("QuantizeLinear", [rows, step, "rows_of_128"], f"{name}.whole", axis=0)
        return self._whole_product(whole, "zero_at_128", step, _quantized(weight), name)

    def _product_of_gelu(self, rows: str, weight: _Array, name: str) -> tuple[str, _Array]:
        """Multiply what GELU gave by a weight of shape (out, in).

        Returns: the product, and by how much all its rows are too large.
        """
        risen = self._node("Add", [rows, "gelu_rise"], f"{name}.risen")
        largest = self._node("ReduceMax", [risen, "last"], f"{name}.max", keepdims=0)
        step = self._node("Div", [largest, "unsigned_steps"], f"{name}.step")
        whole = self._node("QuantizeLinear", [risen, step, "rows_of_0"], f"{name}.whole", axis=0)
        quantized = _quantized(weight)
        values, steps = quantized
        too_much = (_LEAST_GELU * (values * steps).sum(axis=0)).astype(np.float32)
        return self._whole_product(whole, "zero_at_0", step, quantized, name), too_much

    def _whole_product(
        self, whole: str, zero: str, step: str, quantized: tuple[_Array, NDArray[np.float32]], name: str
    ) -> str:
        values, steps = quantized
        kept = values if self._signed else (values.astype(np.int16) + 128).astype(np.uint8)
        inputs = [
            whole,
            self._constant(f"{name}.weight", kept),
            "one",
            self._constant(f"{name}.steps", steps),
            zero,
        ]
        if not self._signed:
            inputs.append("zero_at_128")
        product = self._node("MatMulIntegerToFloat", inputs, f"{name}.product", domain=_MICROSOFT)
        return self._node("Mul", [product, self._node("Unsqueeze", [step, "last"], f"{name}.column")], name)

    def _weight(self, name: str) -> NDArray[np.float32]:
        return self._weights[name].astype(np.float32, copy=False)

    def _constant(self, name: str, value: Any) -> str:
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name)
        )
        return name

    def _node(
        self, kind: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: Any
    ) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output


def _quantized(weight: _Array) -> tuple[_Array, NDArray[np.float32]]:
    """Give a weight of shape (out, in) as int8 of shape (in, out), -127 to 127, and the size of a step for each column."""
    largest = np.abs(weight).max(axis=1)
    steps = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weight / steps[:, None]).astype(np.int8).T, steps
