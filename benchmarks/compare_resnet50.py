"""Seconds that a comparison of ResNet-50 224 x 224 takes.

`python benchmarks/compare_resnet50.py` prints a line for each kind of dump: right, of devices with one fault or
with one in every operator, one that nothing explains, and a part of the tensors.
"""

import time

import numpy as np
from benchmark_networks import resnet50

import qengine


def main():
    model = resnet50().SerializeToString()
    random = np.random.default_rng(0)
    image = qengine.InferenceSession(model).get_inputs()[0].name
    feeds = {image: random.random((1, 3, 224, 224), dtype=np.float32)}
    formats = {"qformat": "Q3.4", "weight_qformat": "Q1.6"}
    session = qengine.InferenceSession(model, **formats)
    names = sorted(session.rounded)

    def dump(**rules):
        device = session.with_options(qengine.SessionOptions(**formats, rules=rules or None))
        return dict(zip(names, device.run(names, feeds, raw=True), strict=True))

    steps = session.plan(session.check_feeds(feeds)).steps
    convolutions = [s.output.name for s in steps if s.step.kind == "linear" and s.output.name in names]
    middle = convolutions[len(convolutions) // 2]
    unexplained = dump()
    unexplained[middle] = unexplained[middle].copy()
    unexplained[middle].reshape(-1)[::997] += 1
    device = dump(**{"linear.rounding": "floor"})
    some = (image, convolutions[3], convolutions[8], convolutions[-1])
    for title, codes in (
        ("right", dump()),
        ("one operator rounds down", dump(tensors={middle: {"rounding": "floor"}})),
        ("every convolution rounds down", device),
        ("codes in one convolution that nothing explains", unexplained),
        ("four tensors of the device that rounds down", {n: device[n] for n in some}),
    ):
        start = time.perf_counter()
        result = qengine.compare(session, codes, feeds)
        print(f"{time.perf_counter() - start:6.1f} s  {title}: {result.sentence[:150]}")


if __name__ == "__main__":
    main()
