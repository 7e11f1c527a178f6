"""Small networks of the kinds that people run beside plain CNNs, with random weights, on which their speed does not
depend: transformers, recurrent networks, loops, trees, graphs, float16 and dynamic quantization.

    python benchmarks/network_kinds.py DIR    # writes NAME.onnx, and NAME.npz with its feeds
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

Feeds = dict[str, np.ndarray]
Maker = Callable[[Path], Feeds]

_MAKERS: dict[str, Maker] = {}
_OPSET = 17


def _kind(maker: Maker) -> Maker:
    """Add a function that writes a model to a path and returns its feeds, under its name."""
    _MAKERS[maker.__name__] = maker
    return maker


def _exported(module: nn.Module, feeds: Feeds, path: Path, outputs: list[str]) -> Feeds:
    tensors = tuple(torch.from_numpy(array) for array in feeds.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), tensors, str(path), input_names=list(feeds), output_names=outputs, opset_version=_OPSET,
            dynamo=False,
        )  # fmt: skip
    return feeds


def _images(size: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, size, size), np.float32)


def _tokens(count: int, words: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, words, (1, count))


class _Attention(nn.Module):
    """Self-attention as it is spelled in most repositories: separate products, a mask, a Softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        batch, count, width = x.shape
        q, k, v = (
            part(x).view(batch, count, self.heads, self.size).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-1, -2) / self.size**0.5
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, count, width))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.first, self.second = _Attention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = x + self.attention(self.first(x), mask)
        return x + self.dense(self.second(x))


class _Vit(nn.Module):
    def __init__(self, width: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 197, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class _Bert(nn.Module):
    def __init__(self, width: int = 256, depth: int = 4, heads: int = 4, words: int = 1000) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(512, width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(tokens) + self.places(torch.arange(tokens.shape[1])))
        hidden = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e9
        for block in self.blocks:
            x = block(x, hidden)
        return self.head(torch.tanh(x[:, 0]))


class _Vad(nn.Module):
    """Voice detector: convolutions over samples, an LSTM, a probability for each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 64, 128, 64, 32), nn.ReLU(), nn.Conv1d(64, 96, 3, 1, 1), nn.ReLU(),
            nn.Conv1d(96, 96, 3, 2, 1), nn.ReLU(),
        )  # fmt: skip
        self.lstm, self.head = nn.LSTM(96, 128, 2, batch_first=True), nn.Linear(128, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.conv(x).transpose(1, 2))
        return torch.sigmoid(self.head(y))


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(1000, 128), nn.Linear(256, 20)
        self.gru = nn.GRU(128, 128, 2, batch_first=True, bidirectional=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.head(self.gru(self.words(tokens))[0]), -1)


class _TextCnn(nn.Module):
    """Segmentation of a text: embeddings of characters, 1-D convolutions of several widths, a layer for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(180, 32), nn.Embedding(13, 16)
        self.convs = nn.ModuleList(nn.Conv1d(48, 64, n, padding="same") for n in (1, 2, 3, 4, 5, 6, 8, 10, 12))
        self.mix, self.out = nn.Linear(64 * 9, 100), nn.Linear(100, 1)

    def forward(self, characters: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.words(characters), self.kinds(kinds)], 2).transpose(1, 2)
        x = torch.cat([torch.relu(conv(x)) for conv in self.convs], 1).transpose(1, 2)
        return torch.sigmoid(self.out(torch.relu(self.mix(x))))


class _Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 32, 2), (32, 64, 1), (64, 64, 2), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.SiLU()]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(128, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.head(self.layers(x).mean((2, 3))), 1)


class _Gnn(nn.Module):
    """Two rounds of messages along edges: rows are gathered, and summed with ScatterElements."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, width), nn.Linear(width, width), nn.Linear(width, 4)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        x = nodes
        for layer in (self.first, self.second):
            sent = layer(x)[edges[0]]
            target = edges[1][:, None].expand(-1, sent.shape[1])
            received = torch.zeros(nodes.shape[0], sent.shape[1]).scatter_add(0, target, sent)
            x = torch.relu(received)
        return self.head(x)


@_kind
def vit_tiny(path: Path) -> Feeds:
    return _exported(_Vit(), {"image": _images(224)}, path, ["scores"])


@_kind
def bert_mini(path: Path) -> Feeds:
    feeds = {"tokens": _tokens(128), "mask": np.ones((1, 128), np.int64)}
    return _exported(_Bert(), feeds, path, ["scores"])


@_kind
def conv_lstm_vad(path: Path) -> Feeds:
    samples = np.random.default_rng(0).normal(0, 0.1, (1, 1, 8000)).astype(np.float32)
    return _exported(_Vad(), {"samples": samples}, path, ["probability"])


@_kind
def gru_tagger(path: Path) -> Feeds:
    return _exported(_Tagger(), {"tokens": _tokens(60)}, path, ["tags"])


@_kind
def text_cnn(path: Path) -> Feeds:
    kinds = np.random.default_rng(1).integers(0, 13, (1, 200))
    return _exported(_TextCnn(), {"characters": _tokens(200, 180), "kinds": kinds}, path, ["borders"])


@_kind
def gnn_scatter(path: Path) -> Feeds:
    rng = np.random.default_rng(0)
    feeds = {"nodes": rng.normal(0, 1, (500, 16)).astype(np.float32), "edges": rng.integers(0, 500, (2, 4000))}
    return _exported(_Gnn(), feeds, path, ["classes"])


@_kind
def float16_cnn(path: Path) -> Feeds:
    feeds = {"image": _images(128).astype(np.float16)}
    return _exported(_Cnn().half(), feeds, path, ["probabilities"])


def _quantized(module: nn.Module, feeds: Feeds, path: Path, outputs: list[str]) -> Feeds:
    from onnxruntime.quantization import quantize_dynamic

    real = path.with_suffix(".float.onnx")
    _exported(module, feeds, real, outputs)
    quantize_dynamic(real, path)
    real.unlink()
    return feeds


@_kind
def dynamic_mlp(path: Path) -> Feeds:
    sizes = (256, 512, 512, 512, 10)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    x = np.random.default_rng(0).normal(0, 1, (16, 256)).astype(np.float32)
    return _quantized(nn.Sequential(*layers[:-1]), {"x": x}, path, ["y"])


@_kind
def dynamic_transformer(path: Path) -> Feeds:
    feeds = {"tokens": _tokens(64), "mask": np.ones((1, 64), np.int64)}
    return _quantized(_Bert(), feeds, path, ["scores"])


@_kind
def seq2seq_loop(path: Path) -> Feeds:
    """Greedy decoder: each iteration embeds the last word, attends to the encoder's states, and picks the next word."""
    rng = np.random.default_rng(0)
    width, words, steps = 128, 500, 40

    def constant(name: str, *shape: int, scale: float = 0.1) -> TensorProto:
        return numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name)

    node = helper.make_node
    body = helper.make_graph(
        [
            node("Gather", ["embedding", "word"], ["e"]),
            node("MatMul", ["state", "memory_t"], ["scores"]),
            node("Softmax", ["scores"], ["attention"], axis=-1),
            node("MatMul", ["attention", "memory"], ["context"]),
            node("Concat", ["e", "context", "state"], ["joined"], axis=1),
            node("Gemm", ["joined", "w", "b"], ["mixed"]),
            node("Tanh", ["mixed"], ["next_state"]),
            node("Gemm", ["next_state", "v", "c"], ["logits"]),
            node("ArgMax", ["logits"], ["next_word"], axis=1, keepdims=0),
            node("Identity", ["keep"], ["keep_out"]),
            node("Identity", ["next_word"], ["chosen"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep", TensorProto.BOOL, []),
            helper.make_tensor_value_info("word", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, width]),
        ],
        [
            helper.make_tensor_value_info("keep_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_word", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, [1, width]),
            helper.make_tensor_value_info("chosen", TensorProto.INT64, [1]),
        ],
    )
    graph = helper.make_graph(
        [
            node("MatMul", ["source", "u"], ["memory_raw"]),
            node("Tanh", ["memory_raw"], ["memory"]),
            node("Transpose", ["memory"], ["memory_t"], perm=[1, 0]),
            node("ReduceMean", ["memory"], ["start"], axes=[0], keepdims=1),
            node("Loop", ["steps", "", "first", "start"], ["last_word", "last_state", "sentence"], body=body),
        ],
        "seq2seq",
        [helper.make_tensor_value_info("source", TensorProto.FLOAT, [30, 64])],
        [helper.make_tensor_value_info("sentence", TensorProto.INT64, [steps, 1])],
        [
            *(constant(*spec) for spec in (("u", 64, width), ("embedding", words, width), ("w", 3 * width, width))),
            *(constant(*spec) for spec in (("b", width), ("v", width, words), ("c", words))),
            numpy_helper.from_array(np.array(steps), "steps"),
            numpy_helper.from_array(np.array([1]), "first"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8), path)
    return {"source": rng.normal(0, 1, (30, 64)).astype(np.float32)}


@_kind
def boosted_trees(path: Path) -> Feeds:
    """An ensemble of 100 trees of depth 6 on 20 features."""
    rng = np.random.default_rng(0)
    depth, trees, features = 6, 100, 20
    inner, count = 2**depth - 1, 2 ** (depth + 1) - 1
    places, ids = np.tile(np.arange(count), trees), np.repeat(np.arange(trees), count)
    is_inner = places < inner
    leaves = np.flatnonzero(~is_inner)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=ids.tolist(),
        nodes_nodeids=places.tolist(),
        nodes_modes=np.where(is_inner, "BRANCH_LEQ", "LEAF").tolist(),
        nodes_featureids=np.where(is_inner, rng.integers(0, features, len(places)), 0).tolist(),
        nodes_values=np.where(is_inner, rng.normal(0, 1, len(places)), 0).tolist(),
        nodes_truenodeids=np.where(is_inner, 2 * places + 1, 0).tolist(),
        nodes_falsenodeids=np.where(is_inner, 2 * places + 2, 0).tolist(),
        target_treeids=ids[leaves].tolist(),
        target_nodeids=places[leaves].tolist(),
        target_ids=[0] * len(leaves),
        target_weights=rng.normal(0, 1, len(leaves)).tolist(),
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return {"x": rng.normal(0, 1, (1000, features)).astype(np.float32)}


def write(folder: Path, names: list[str] | None = None) -> None:
    """Write models, and their feeds beside them, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or _MAKERS:
        torch.manual_seed(0)
        feeds = _MAKERS[name](folder / f"{name}.onnx")
        np.savez(folder / f"{name}.npz", **feeds)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]), sys.argv[2:])
