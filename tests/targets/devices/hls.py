"""hls4ml: ap_fixed with accumulators of any type, and tables of 1,024 entries; a model, and its own C++ executed.

`run` writes a C++ file that calls the functions of the installed hls4ml on codes, and compiles it with g++.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import subprocess
from pathlib import Path

import numpy as np
from targets.devices.arithmetic import encoded, linear_shape, output_size, products, shifted, windows, wrapped
from targets.devices.plain import ApFixed

TABLE_FRACTION = 10  # of ap_fixed<18, 8>, the type of the entries of a table


class Hls4ml(ApFixed):
    """hls4ml's C simulation; an accumulator of (bits, fraction bits), or None for one that loses nothing."""

    def __init__(self, accumulator=None):
        self.accumulator = accumulator

    def linear(self, node, x, weights, bias, shift, out):
        """Return a linear node: each product and the bias are cut to the accumulator, which wraps."""
        if self.accumulator is None:
            return super().linear(node, x, weights, bias, shift, out)
        bits, fraction = self.accumulator
        cut = max(shift + out.fraction - fraction, 0)
        found = np.zeros(linear_shape(x, weights, node), np.int64)
        for index, terms in products(x, weights, node):
            found[index] = (bias[index[1]] >> cut) + (terms >> cut).sum()
        narrow = wrapped(found, bits + min(shift + out.fraction - fraction, 0))
        return wrapped(shifted(narrow, shift - cut, "floor"), out.bits)

    def sigmoid(self, node, inputs, formats, out):
        """Return entries of a table over [-8, 8)."""
        return self.entry(lambda v: 1 / (1 + math.exp(-v)), 8, inputs[0], formats[0], out)

    def tanh(self, node, inputs, formats, out):
        """Return entries of a table over [-4, 4)."""
        return self.entry(math.tanh, 4, inputs[0], formats[0], out)

    def entry(self, function, limit, x, fmt, out):
        """Return entries of a table of 1,024: the index is cut toward zero, an entry has 10 fraction bits."""
        half, step = 512, limit / 512
        codes = encoded([function((i - half) * step) for i in range(2 * half)], TABLE_FRACTION, "floor")
        index = np.sign(x) * (np.abs(x) * half // limit >> fmt.fraction) + half
        entries = codes[np.clip(index, 0, 2 * half - 1)]
        return wrapped(shifted(entries, TABLE_FRACTION - out.fraction, "floor"), out.bits)


def folder():
    """Return the folder of hls4ml's C++ headers."""
    spec = importlib.util.find_spec("hls4ml")
    return Path(next(iter(spec.submodule_search_locations))) / "templates" / "vivado"


def _type(fmt):
    return f"ap_fixed<{fmt.bits}, {fmt.bits - fmt.fraction}>"


def _source(k, network, accumulator):
    """Return the C++ function of a network of one node: codes of inputs, real weights, codes of the result."""
    node, out = network.nodes[0], network.formats[network.nodes[0].output]
    fmt = network.formats[node.inputs[0]]
    types = f"typedef {_type(fmt)} x_t; typedef {_type(out)} y_t;"
    if node.kind in ("conv", "dense"):
        w_fmt = network.formats[f"{node.output}_w"]
        n = fmt.fraction + w_fmt.fraction
        bits, of_sums = accumulator or (48, n)
        total = f"ap_fixed<{bits}, {bits - of_sums}>"
        return f"""
namespace n{k} {{ {types} typedef {_type(w_fmt)} w_t; typedef ap_fixed<32, {32 - n}> b_t;
struct config : nnet::dense_config {{ static const unsigned n_in = {node.weights[0].size}, n_out = 1;
  typedef {total} accum_t; typedef b_t bias_t; typedef w_t weight_t;
  template <class a, class b> using product = nnet::product::mult<a, b>; }};
}}
extern "C" void f{k}(const long long *x, const double *w, const double *b, long long *y, int rows) {{
  for (int r = 0; r < rows; r++) {{
    n{k}::x_t in[n{k}::config::n_in]; n{k}::w_t wt[n{k}::config::n_in]; n{k}::b_t bias[1]; n{k}::y_t res[1];
    for (unsigned i = 0; i < n{k}::config::n_in; i++) {{
      in[i].range() = *x++; wt[i] = w[r * n{k}::config::n_in + i]; }}
    bias[0] = b[r];
    nnet::dense_latency<n{k}::x_t, n{k}::y_t, n{k}::config>(in, res, wt, bias);
    y[r] = (long long)res[0].range().to_int64() << (64 - {out.bits}) >> (64 - {out.bits}); }} }}
"""
    if node.kind == "average":
        area = node.kernel[0] * node.kernel[1]
        return f"""
namespace n{k} {{ {types} typedef ap_fixed<{fmt.bits + 8}, {fmt.bits + 8 - fmt.fraction}> t; }}
extern "C" void f{k}(const long long *x, const double *w, const double *b, long long *y, int rows) {{
  for (int r = 0; r < rows; r++) {{
    n{k}::x_t pool[{area}];
    for (int i = 0; i < {area}; i++) pool[i].range() = *x++;
    n{k}::y_t res = nnet::avg<n{k}::x_t, {area}, n{k}::t>(pool, (unsigned)w[r]);
    y[r] = (long long)res.range().to_int64() << (64 - {out.bits}) >> (64 - {out.bits}); }} }}
"""
    if node.kind in ("add", "sub", "mul"):
        other = network.formats[node.inputs[1]]
        name = {"add": "add", "sub": "subtract", "mul": "multiply"}[node.kind]
        body = f"""{_type(other)} c[1]; c[0].range() = x[rows + r];
    nnet::{name}<n{k}::x_t, {_type(other)}, n{k}::y_t, n{k}::config>(a, c, res);"""
        config = "static const unsigned n_elem1 = 1, n_elem2 = 1, n_elem = 1, reuse_factor = 1;"
    else:
        body = f"nnet::{node.kind}<n{k}::x_t, n{k}::y_t, n{k}::config>(a, res);"
        config = f"""static const unsigned n_in = 1, table_size = 1024, io_type = nnet::io_parallel, reuse_factor = 1;
  typedef ap_fixed<18, {18 - TABLE_FRACTION}> table_t;"""
    return f"""
namespace n{k} {{ {types} struct config {{ {config} }}; }}
extern "C" void f{k}(const long long *x, const double *w, const double *b, long long *y, int rows) {{
  for (int r = 0; r < rows; r++) {{
    n{k}::x_t a[1]; n{k}::y_t res[1]; a[0].range() = x[r];
    {body}
    y[r] = (long long)res[0].range().to_int64() << (64 - {out.bits}) >> (64 - {out.bits}); }} }}
"""


def run(cases, accumulator, where):
    """Return the codes of the results of networks of one node each, by hls4ml's functions.

    Parameters
    ----------
    cases : pairs of a network and codes of its inputs.
    accumulator : (bits, fraction bits) of sums, or None.
    where : an empty folder.
    """
    headers = folder()
    names = (
        "ap_fixed.h",
        "nnet_dense_latency.h",
        "nnet_dense.h",
        "nnet_merge.h",
        "nnet_activation.h",
        "nnet_pooling.h",
    )
    text = "#include <cmath>\n" + "".join(f'#include "{name}"\n' for name in names)
    text += "".join(_source(k, network, accumulator) for k, (network, _) in enumerate(cases))
    (where / "case.cpp").write_text(text)
    command = ["g++", "-O1", "-std=c++17", "-w", "-shared", "-fPIC", f"-I{headers / 'ap_types'}"]
    command += [f"-I{headers / 'nnet_utils'}", "-o", str(where / "case.so"), str(where / "case.cpp")]
    subprocess.run(command, check=True, capture_output=True)
    library = ctypes.CDLL(str(where / "case.so"))
    return [_call(library, k, network, feeds) for k, (network, feeds) in enumerate(cases)]


def _call(library, k, network, feeds):
    """Return the codes of one network's result."""
    node = network.nodes[0]
    xs = [np.asarray(feeds[name], np.int64) for name in node.inputs]
    if node.kind == "average":
        return _means(library, k, node, xs[0])
    if node.kind not in ("conv", "dense"):
        return _function(library, k, np.concatenate([x.ravel() for x in xs]), [], [], xs[0].size).reshape(xs[0].shape)
    x, w = xs[0], np.asarray(node.weights, np.float64)
    b = np.zeros(len(w)) if node.bias is None else np.asarray(node.bias, np.float64)
    if node.kind == "dense":
        return _function(library, k, np.tile(x[0], len(w)), w, b, len(w))[None]
    found = np.zeros((1, len(w), *output_size(x.shape[2:], node.kernel, node.stride, node.pads)), np.int64)
    of_group = len(w) // node.group
    for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
        patch = np.zeros((x.shape[1], *node.kernel), np.int64)
        for ky, kx, iy, ix in taps:
            patch[:, ky, kx] = x[0, :, iy, ix]
        rows = [patch[o // of_group * w.shape[1] :][: w.shape[1]].ravel() for o in range(len(w))]
        found[0, :, y, c] = _function(library, k, np.concatenate(rows), w, b, len(w))
    return found


def _function(library, k, x, w, b, rows):
    """Return what one function of a library writes."""
    result = np.zeros(rows, np.int64)
    arrays = [
        np.ascontiguousarray(x, np.int64),
        np.ascontiguousarray(w, np.float64),
        np.ascontiguousarray(b, np.float64),
    ]
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*arrays, result)]
    getattr(library, f"f{k}")(*pointers, ctypes.c_int(rows))
    return result


def _means(library, k, node, x):
    """Return the means of windows; hls4ml fills what is padding with 0 and counts the rest."""
    found = np.zeros((*x.shape[:2], *output_size(x.shape[2:], node.kernel, node.stride, node.pads)), np.int64)
    for y, c, taps in windows(x.shape[2:], node.kernel, node.stride, node.pads):
        pool = np.zeros((x.shape[1], node.kernel[0] * node.kernel[1]), np.int64)
        pool[:, : len(taps)] = np.stack([x[0, :, iy, ix] for _, _, iy, ix in taps], axis=1)
        found[0, :, y, c] = _function(library, k, pool, np.full(x.shape[1], len(taps)), [], x.shape[1])
    return found
