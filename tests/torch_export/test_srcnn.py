import numpy as np
import onnx
import pytest
import torch

from qengine.errors import QEngineError
from qengine.torch_export import (
    SRCNN,
    BicubicResize,
    bicubic_resize,
    export,
)

from .exports import FACTORS, TOLERANCE, run, scales


def test_one_resize_whose_scales_are_a_graph_input(srcnn):
    graph = srcnn[2].graph
    assert [node.op_type for node in graph.node if node.op_type != "Constant"] == [
        "Resize",
        "Conv",
        "Relu",
        "Conv",
        "Relu",
        "Conv",
    ]
    (resize,) = (node for node in graph.node if node.op_type == "Resize")
    image, roi, given = resize.input
    assert (image, given) == ("input", "factor")
    (constant,) = (node for node in graph.node if roi in node.output)
    assert onnx.numpy_helper.to_array(constant.attribute[0].t).shape == (0,)
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in resize.attribute}
    assert attributes == {
        "mode": b"cubic",
        "coordinate_transformation_mode": b"pytorch_half_pixel",
        "cubic_coeff_a": -0.75,
        "nearest_mode": b"floor",
    }


def test_readable_names(srcnn):
    graph = srcnn[2].graph
    names = [node.output[0] for node in graph.node if node.op_type != "Constant"]
    assert names == ["upscaled", "conv1", "relu1", "conv2", "relu2", "output"]
    assert [value.name for value in graph.input] == ["input", "factor"]
    assert {tensor.name for tensor in graph.initializer} == set(SRCNN().state_dict())


def test_free_axes_and_opset(srcnn):
    model = srcnn[2]
    sizes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes["input"] == ["N", 3, "H", "W"]
    assert sizes["factor"] == [4]
    assert len(sizes["output"]) == 4
    assert [opset.version for opset in model.opset_import if not opset.domain] == [17]


@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_factors_that_were_not_exported(srcnn, factor):
    module, path, _ = srcnn
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module(image, scales(*factor)).numpy()
    (result,) = run(path, {"input": image, "factor": scales(*factor)})
    assert result.shape == (2, 3, int(7 * factor[0]), int(9 * factor[1]))
    np.testing.assert_allclose(result, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("factor", FACTORS, ids=str)
def test_bicubic_resize_is_interpolate(factor):
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(2))
    wanted = torch.nn.functional.interpolate(image, scale_factor=factor, mode="bicubic", align_corners=False)
    assert torch.equal(bicubic_resize(image, scales(*factor)), wanted)


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_bicubic_at_other_opsets(tmp_path, opset):
    path = tmp_path / "resize.onnx"
    image, factor = torch.rand(1, 2, 5, 6), scales(2, 3)
    export(
        BicubicResize(),
        (image, factor),
        path,
        input_names=["x", "scales"],
        output_names=["y"],
        dynamic_axes={"y": {2: "H", 3: "W"}},
        opset=opset,
    )
    (result,) = run(path, {"x": image, "scales": scales(3, 1.5)})
    np.testing.assert_allclose(result, bicubic_resize(image, scales(3, 1.5)).numpy(), atol=TOLERANCE)


def test_bicubic_resize_has_no_gradient():
    image = torch.rand(1, 1, 4, 4, requires_grad=True)
    with pytest.raises(QEngineError, match="no gradient"):
        bicubic_resize(image, scales(2, 2)).sum().backward()


def test_the_gradient_of_the_refinement_is_whole():
    module = SRCNN()
    module(torch.rand(1, 3, 4, 4), scales(2, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
