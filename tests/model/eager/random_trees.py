"""Random trees as attributes of the tree operators of ai.onnx.ml."""

import numpy as np

MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def features(rng, rows, dtype, *, has_nan=False):
    """Return samples of five features that meet the thresholds of the trees often."""
    x = np.round(rng.normal(size=(rows, 5)) * 2) / 2
    if has_nan:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x.astype(dtype)


def lists(rng, kind, trees, ids, *, is_mixed=False, tracks=False, is_positive=False, tensors=None):
    """Return trees as lists of nodes and weights.

    `kind` is "class" or "target"; `ids` has the targets of the weights of each leaf, drawn from if it is a tuple;
    `tensors` is the type of numbers that are given as tensors.
    """
    names = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"]
    nodes, weights = {name: [] for name in names}, {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    def add(tree, depth):
        at, own = len(nodes["treeids"]), nodes["treeids"].count(tree)
        is_leaf = depth == 3 or (depth > 0 and rng.random() < 0.25)
        mode = "LEAF" if is_leaf else MODES[rng.integers(6)] if is_mixed else "BRANCH_LEQ"
        value = float(np.float32(np.round(rng.normal() * 2) / 2))
        for name, one in zip(names, (tree, own, int(rng.integers(5)), mode, value, 0, 0), strict=True):
            nodes[name].append(one)
        if is_leaf:
            for target in [int(rng.choice(ids))] if isinstance(ids, tuple) else ids:
                weight = float(np.float32(rng.normal()))
                for name, one in zip(weights, (tree, own, target, abs(weight) if is_positive else weight), strict=True):
                    weights[name].append(one)
        else:
            nodes["truenodeids"][at] = add(tree, depth + 1)
            nodes["falsenodeids"][at] = add(tree, depth + 1)
        return own

    for tree in range(trees):
        add(tree, 0)
    if tracks:
        nodes["missing_value_tracks_true"] = rng.integers(0, 2, len(nodes["modes"])).tolist()
    found = {f"nodes_{k}": v for k, v in nodes.items()} | {f"{kind}_{k}": v for k, v in weights.items()}
    if tensors is not None:
        for name in ("nodes_values", f"{kind}_weights"):
            found[f"{name}_as_tensor"] = np.array(found.pop(name), tensors)
    return found


def ensemble(rng, trees, targets, dtype, *, members=False):
    """Return trees as attributes of TreeEnsemble; sets of members hold whole numbers."""
    names = ["featureids", "modes", "splits", "truenodeids", "falsenodeids", "trueleafs", "falseleafs"]
    nodes, leaves, sets = {name: [] for name in names}, [], {}

    def add(depth):
        at, mode = len(nodes["modes"]), int(rng.integers(7 if members else 6))
        for name, one in zip(
            names, (int(rng.integers(5)), mode, np.round(rng.normal() * 2) / 2, 0, 0, 1, 1), strict=True
        ):
            nodes[name].append(one)
        if mode == 6:
            sets[at] = [*np.unique(rng.integers(0, 4, 2)).astype(float), np.nan]
        for side in ("true", "false"):
            if depth == 2 or rng.random() < 0.3:
                leaves.append((int(rng.integers(targets)), rng.normal()))
                nodes[f"{side}nodeids"][at] = len(leaves) - 1
            else:
                nodes[f"{side}leafs"][at] = 0
                nodes[f"{side}nodeids"][at] = add(depth + 1)
        return at

    roots = [add(0) for _ in range(trees)]
    found = {f"nodes_{k}": v for k, v in nodes.items()} | {"tree_roots": roots, "n_targets": targets}
    found["nodes_modes"] = np.array(found["nodes_modes"], np.uint8)
    found["nodes_splits"] = np.array(found["nodes_splits"], dtype)
    found["nodes_missing_value_tracks_true"] = rng.integers(0, 2, len(nodes["modes"])).tolist()
    found["leaf_targetids"] = [target for target, _ in leaves]
    found["leaf_weights"] = np.array([weight for _, weight in leaves], dtype)
    if sets:
        found["membership_values"] = np.array([one for at in sorted(sets) for one in sets[at]], dtype)
    return found
