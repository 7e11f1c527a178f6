"""Compares the codes of qengine with those of a device, for one network."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from targets.devices import random_networks

import qengine


@dataclass
class Count:
    """How many codes were compared and which differ, by network and tensor."""

    compared: int = 0
    differing: int = 0
    where: list[str] = field(default_factory=list)

    def add(self, name, found, expected):
        """Count the codes of a tensor."""
        wrong = np.flatnonzero(np.asarray(found, np.int64).ravel() != np.asarray(expected, np.int64).ravel())
        self.compared += np.size(expected)
        self.differing += len(wrong)
        if len(wrong):
            i = int(wrong[0])
            pair = f"{np.ravel(found)[i]} instead of {np.ravel(expected)[i]}"
            self.where.append(f"{name}: {len(wrong)} of {np.size(expected)}, element {i} is {pair}")


def qengine_codes(network, feeds, target, isa="reference", **options):
    """Return the codes of every node's output by qengine with the rules of a target."""
    session = qengine.InferenceSession(
        network.as_onnx(), formats=network.named_formats(), target=target, isa=isa, threads=1, **options
    )
    values = {name: np.float32(codes * 2.0 ** -network.formats[name].fraction) for name, codes in feeds.items()}
    names = [node.output for node in network.nodes]
    return dict(zip(names, session.run(names, values, raw=True), strict=True))


def compare(count, name, network, feeds, expected, target, isa="reference", **options):
    """Count the codes of a network that differ."""
    found = qengine_codes(network, feeds, target, isa, **options)
    for node in network.nodes:
        count.add(f"{name} {node.kind} {node.output}", found[node.output], expected[node.output])


def networks(limits, seeds, stream=0, kinds=None, chains=2):
    """Yield (name, network, codes of inputs) of each kind of operator, and of chains of them.

    Parameters
    ----------
    limits : what the device can do.
    seeds : networks of each kind.
    stream : number that tells the random numbers of one test from those of others.
    kinds : kinds of operators; None for those of the device, and chains.
    chains : number of chains.
    """
    for kind in kinds or (*limits.kinds, "chain"):
        for seed in range(chains if kind == "chain" else seeds):
            rng = np.random.default_rng([stream, seed])
            network = random_networks.network(rng, limits, kind)
            yield f"{kind}/{seed}", network, random_networks.inputs(rng, network)
