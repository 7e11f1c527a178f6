"""Seconds that a comparison of ResNet-50 224 x 224 takes: a right dump, one wrong operator, and one in the middle.

`python benchmarks/compare_resnet50.py` prints a line for each.
"""

import time

import numpy as np
from benchmark_networks import resnet50

import qengine


def main():
    model = resnet50().SerializeToString()
    random = np.random.default_rng(0)
    name = qengine.InferenceSession(model).get_inputs()[0].name
    feeds = {name: random.random((1, 3, 224, 224), dtype=np.float32)}
    session = qengine.InferenceSession(model, qformat="Q4.11", weight_qformat="Q1.6")
    names = sorted(session.rounded)
    dump = dict(zip(names, session.run(names, feeds, raw=True), strict=True))
    order = [step.output.name for step in session.plan(session.check_feeds(feeds)).steps]
    order = [n for n in order if n in dump]
    floor = session.with_options(qengine.SessionOptions(qformat="Q4.11", weight_qformat="Q1.6", rounding="floor"))
    device = dict(zip(names, floor.run(names, feeds, raw=True), strict=True))
    one_wrong = {n: dump[n].copy() for n in names}
    middle = order[len(order) // 2]
    one_wrong[middle].reshape(-1)[::997] += 1
    partial = {n: device[n] for n in (order[3], order[len(order) // 2], order[-1], name)}
    for title, codes in (
        ("right", dump),
        ("every operator rounds down", device),
        ("some codes wrong in the middle, no hypothesis", one_wrong),
        ("four tensors of a device that rounds down", partial),
    ):
        start = time.perf_counter()
        result = qengine.compare(session, codes, feeds)
        print(f"{time.perf_counter() - start:6.1f} s  {title}: {result.sentence[:160]}")


if __name__ == "__main__":
    main()
