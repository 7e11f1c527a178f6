"""Train small networks of 4 bits with Brevitas, export them, and keep what torch gives: `python make_brevitas.py`.

It needs the packages brevitas, qonnx and onnxoptimizer. The files are QONNX and QCDQ of one network with biases that
have the scale of the sums, and QONNX of one with float32 biases, which Brevitas has by default.
"""

from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "qengine" / "data" / "zoo" / "digits_heldout.npz"


def classifier(*, has_float_bias=False, has_average=True):
    """Return a network of 4 bits: three convolutions, one of them depthwise, an average with fewer bits, and a Gemm."""
    import brevitas.nn as qnn
    import torch
    from brevitas import quant
    from brevitas.quant import fixed_point

    class Signed(fixed_point.Int8ActPerTensorFixedPoint):
        bit_width = 4

    class Unsigned(fixed_point.Uint8ActPerTensorFixedPoint):
        bit_width = 4

    class Logits(fixed_point.Int8ActPerTensorFixedPoint):
        bit_width = 8

    bias = None if has_float_bias else quant.Int32Bias
    conv = {
        "weight_quant": fixed_point.Int8WeightPerChannelFixedPoint,
        "weight_bit_width": 4,
        "bias": True,
        "bias_quant": bias,
        "return_quant_tensor": True,
    }
    layer = {**conv, "weight_quant": fixed_point.Int8WeightPerTensorFixedPoint}
    relu = {"act_quant": Unsigned, "return_quant_tensor": True}
    average = qnn.TruncAvgPool2d(2, bit_width=4, float_to_int_impl_type="floor", return_quant_tensor=True)
    return torch.nn.Sequential(
        qnn.QuantIdentity(act_quant=Signed, return_quant_tensor=True),
        qnn.QuantConv2d(1, 12, 3, stride=2, padding=1, **conv),
        qnn.QuantReLU(**relu),
        qnn.QuantConv2d(12, 12, 3, padding=1, groups=12, **conv),
        qnn.QuantReLU(**relu),
        qnn.QuantConv2d(12, 24, 3, stride=2, padding=1, **conv),
        qnn.QuantReLU(**relu),
        torch.nn.MaxPool2d(2, padding=1),
        average if has_average else torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        qnn.QuantLinear(96, 10, **layer),
        qnn.QuantIdentity(act_quant=Logits, return_quant_tensor=True),
    )


def trained(network, epochs=10):
    """Train a network on the digits; return it with 32 images and the share of the last 200 that it gets right."""
    import torch

    torch.manual_seed(1)
    data = np.load(DATA)
    images = torch.from_numpy(data["images"][:, None].astype(np.float32) / 255)
    labels = torch.from_numpy(data["labels"].astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(800).split(50):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[batch]).value, labels[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        right = (network(images[800:]).value.argmax(1) == labels[800:]).float().mean().item()
    return network, images[800:832], right


def exported(network, images, kind):
    """Return the bytes of a model, and what torch gives for the images."""
    import torch
    from brevitas.export import export_onnx_qcdq, export_qonnx

    export = {"qonnx": export_qonnx, "qcdq": export_onnx_qcdq}[kind]
    path = Path("exported.onnx")
    with torch.no_grad():
        expected = network(images)
        export(network, images, str(path), dynamo=False)
    model = onnx.load(path)
    path.unlink()
    return model.SerializeToString(), expected.value.numpy(), expected.int().numpy()


def main():
    for name, has_float_bias, kinds in (("integer_bias", False, ("qonnx", "qcdq")), ("float_bias", True, ("qonnx",))):
        network, images, right = trained(classifier(has_float_bias=has_float_bias))
        print(f"{name}: {right:.1%} of 200 held-out digits")  # noqa: T201 - a script
        for kind in kinds:
            model, values, codes = exported(network, images, kind)
            (HERE / "brevitas" / f"{name}.{kind}.onnx").write_bytes(model)
        np.savez_compressed(HERE / "brevitas" / f"{name}.npz", x=images.numpy(), y=values, codes=codes.astype(np.int8))


if __name__ == "__main__":
    main()
