#!/usr/bin/env python3
"""Builds a model directory for oddline from the files of a sentence model of the BERT family, without PyTorch.

    build.py [--int8] SOURCE TARGET

SOURCE holds `model.safetensors`, `config.json` and `tokenizer.json`, as published; `package:NAME` stands for the directory `model` in the
installed Python package NAME. TARGET gets `model.onnx` and what oddline reads beside it. The graph is a plain BERT encoder: inputs `input_ids`,
`attention_mask` and `token_type_ids` (int64, batch x tokens), output `last_hidden_state` (batch x tokens x width), operator set 17.

--int8 quantises the weights to uint8, each output channel with a scale of its own: a quarter of the size, and vectors whose cosine to those of
the unquantised model is .98 and more.

Needs the Python packages onnx and numpy; --int8 needs onnxruntime, too.
"""

import argparse
import importlib.util
import json
import math
import shutil
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# The first intermediate representation with operator set 17: read by every runtime that has it.
IR_VERSION = 8

COPIED = [
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
]


def source_directory(source):
    """The directory that SOURCE names; the package is found, not imported: it may want more than its files."""
    if not source.startswith("package:"):
        return Path(source)
    name = source.removeprefix("package:").replace("-", "_")
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"expected an installed Python package {name}, found none")
    return Path(found.submodule_search_locations[0]) / "model"


def read_safetensors(path):
    """Tensors by name; only 32-bit floats, which is what weights are published as."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = entry["data_offsets"]
        flat = np.frombuffer(data, dtype="<f4", count=(end - start) // 4, offset=8 + length + start)
        tensors[name.removeprefix("bert.")] = flat.reshape(entry["shape"])
    return tensors


class Graph:
    """Nodes and weights, in order; every method returns the name of its result."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.constants = {}

    def constant(self, name, array):
        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name, turned=False):
        array = self.weights[name]
        return self.constant(name, array.T if turned else array)

    def add(self, operator, inputs, name, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def dense(self, x, prefix, name):
        product = self.add("MatMul", [x, self.weight(f"{prefix}.weight", turned=True)], f"{name}.product")
        return self.add("Add", [product, self.weight(f"{prefix}.bias")], name)

    def normalise(self, x, prefix, epsilon, name):
        inputs = [x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.add("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def gelu(self, x, name):
        """x / 2 * (1 + erf(x / sqrt 2)), the exact form."""
        scaled = self.add("Div", [x, self.constant("sqrt2", np.array(math.sqrt(2), np.float32))], f"{name}.scaled")
        error = self.add("Erf", [scaled], f"{name}.erf")
        shifted = self.add("Add", [error, self.constant("one", np.array(1, np.float32))], f"{name}.shifted")
        product = self.add("Mul", [x, shifted], f"{name}.twice")
        return self.add("Mul", [product, self.constant("half", np.array(0.5, np.float32))], name)


def embeddings(graph, config):
    words = graph.add("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"], "words")
    kinds = graph.add("Gather", [graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"], "kinds")
    # As many places as there are tokens.
    tokens = graph.add("Shape", ["input_ids"], "tokens", start=1, end=2)
    zero = graph.constant("zero", np.array([0], np.int64))
    placed = graph.add("Slice", [graph.weight("embeddings.position_embeddings.weight"), zero, tokens, zero], "placed")
    both = graph.add("Add", [words, kinds], "words.kinds")
    summed = graph.add("Add", [both, placed], "summed")
    return graph.normalise(summed, "embeddings.LayerNorm", config["layer_norm_eps"], "embedded")


def attention_bias(graph):
    """0 where a token is, a very low number where there is padding: batch x 1 x 1 x tokens."""
    mask = graph.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    spread = graph.add("Unsqueeze", [mask, graph.constant("axes12", np.array([1, 2], np.int64))], "mask.spread")
    absent = graph.add("Sub", [graph.constant("one", np.array(1, np.float32)), spread], "mask.absent")
    return graph.add("Mul", [absent, graph.constant("lowest", np.array(-1e9, np.float32))], "mask.bias")


def heads(graph, x, config, name, order):
    count = config["num_attention_heads"]
    width = config["hidden_size"] // count
    split = graph.constant("split", np.array([0, 0, count, width], np.int64))
    parts = graph.add("Reshape", [x, split], f"{name}.split")
    return graph.add("Transpose", [parts], f"{name}.heads", perm=order)


def layer(graph, x, bias, config, number):
    prefix, name = f"encoder.layer.{number}", f"layer{number}"
    part = lambda which: graph.dense(x, f"{prefix}.attention.self.{which}", f"{name}.{which}")
    query = heads(graph, part("query"), config, f"{name}.query", [0, 2, 1, 3])
    key = heads(graph, part("key"), config, f"{name}.key", [0, 2, 3, 1])
    value = heads(graph, part("value"), config, f"{name}.value", [0, 2, 1, 3])
    product = graph.add("MatMul", [query, key], f"{name}.scores.product")
    width = config["hidden_size"] // config["num_attention_heads"]
    scale = graph.constant("scale", np.array(1 / math.sqrt(width), np.float32))
    scores = graph.add("Mul", [product, scale], f"{name}.scores")
    masked = graph.add("Add", [scores, bias], f"{name}.scores.masked")
    weights = graph.add("Softmax", [masked], f"{name}.attention", axis=-1)
    mixed = graph.add("MatMul", [weights, value], f"{name}.mixed")
    back = graph.add("Transpose", [mixed], f"{name}.mixed.tokens", perm=[0, 2, 1, 3])
    joined = graph.constant("join", np.array([0, 0, config["hidden_size"]], np.int64))
    context = graph.add("Reshape", [back, joined], f"{name}.context")
    epsilon = config["layer_norm_eps"]
    out = graph.dense(context, f"{prefix}.attention.output.dense", f"{name}.attention.out")
    summed = graph.add("Add", [out, x], f"{name}.attention.sum")
    attended = graph.normalise(summed, f"{prefix}.attention.output.LayerNorm", epsilon, f"{name}.attended")
    inner = graph.gelu(graph.dense(attended, f"{prefix}.intermediate.dense", f"{name}.inner"), f"{name}.gelu")
    outer = graph.dense(inner, f"{prefix}.output.dense", f"{name}.outer")
    summed = graph.add("Add", [outer, attended], f"{name}.sum")
    return graph.normalise(summed, f"{prefix}.output.LayerNorm", epsilon, f"{name}.out")


def build(weights, config):
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        sys.exit(f"expected a BERT with gelu, found {config.get('model_type')} with {config.get('hidden_act')}")
    graph = Graph(weights)
    x, bias = embeddings(graph, config), attention_bias(graph)
    for number in range(config["num_hidden_layers"]):
        x = layer(graph, x, bias, config, number)
    graph.add("Identity", [x], "last_hidden_state")
    sizes = ["batch", "tokens"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, sizes)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*sizes, config["hidden_size"]])
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="oddline")
    onnx.checker.check_model(model)
    return model


# Not quantised: a table of two rows, and of all products of the feed-forward parts the one whose error shows the most (a cosine of .984 in the worst case instead of .980).
PLAIN = ["kinds", "layer0.outer.product"]


def quantise(model, target):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "model.onnx"
        onnx.save(model, plain)
        quantize_dynamic(plain, target, per_channel=True, weight_type=QuantType.QUInt8, nodes_to_exclude=PLAIN)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET", type=Path)
    parser.add_argument("--int8", action="store_true")
    arguments = parser.parse_args()
    source = source_directory(arguments.source)
    config = json.loads((source / "config.json").read_text())
    model = build(read_safetensors(source / "model.safetensors"), config)
    arguments.target.mkdir(parents=True, exist_ok=True)
    for name in filter(lambda name: (source / name).exists(), COPIED):
        (arguments.target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, arguments.target / name)
    path = arguments.target / "model.onnx"
    if arguments.int8:
        quantise(model, path)
    else:
        onnx.save(model, path)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
